"""What tests and demonstrations use: the queue without Redis, and a mail server that follows a script."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emailqueue.testing.cases import EmailQueueMixin
    from emailqueue.testing.drainer import Drained
    from emailqueue.testing.email_queue import EmailQueue
    from emailqueue.testing.mailserver import MailServer, ReceivedMail
    from emailqueue.testing.queued import QueuedEmail

__all__ = ["Drained", "EmailQueue", "EmailQueueMixin", "MailServer", "QueuedEmail", "ReceivedMail"]

_homes = {
    "Drained": "drainer",
    "EmailQueue": "email_queue",
    "EmailQueueMixin": "cases",
    "MailServer": "mailserver",
    "QueuedEmail": "queued",
    "ReceivedMail": "mailserver",
}


def __getattr__(name: str) -> Any:
    # Lazy, since a test without a mail server needs no aiosmtpd, and pytest loads the plugin before Django is set up.
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_homes[name]}"), name)
