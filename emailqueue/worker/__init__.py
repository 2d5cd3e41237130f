"""The worker that `manage.py rqworker` runs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emailqueue.worker.email_worker import EmailWorker

__all__ = ["EmailWorker"]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562), so that a probe, `python -m emailqueue.worker.heartbeat`, starts neither Django nor RQ.
    if name != "EmailWorker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from emailqueue.worker.email_worker import EmailWorker

    return EmailWorker
