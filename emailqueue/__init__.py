"""Transactional mail for Django: queued in Redis, delivered by workers, never lost silently."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emailqueue.email_types import EmailType, register
    from emailqueue.jobs.backoff import Backoff
    from emailqueue.jobs.priority import Priority
    from emailqueue.queue import cancel_email, queue_bulk_emails, queue_email, reschedule_email, schedule_email
    from emailqueue.statistics.stats import get_queue_stats

__all__ = [
    "Backoff",
    "EmailType",
    "Priority",
    "cancel_email",
    "get_queue_stats",
    "queue_bulk_emails",
    "queue_email",
    "register",
    "reschedule_email",
    "schedule_email",
]

_homes = {
    "Backoff": "emailqueue.jobs.backoff",
    "EmailType": "emailqueue.email_types",
    "Priority": "emailqueue.jobs.priority",
    "get_queue_stats": "emailqueue.statistics.stats",
    "register": "emailqueue.email_types",
}


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562), so that a project's settings may import emailqueue.redis before Django is set up.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_homes.get(name, "emailqueue.queue")), name)
