"""Whether the project has the lines that are easily forgotten: the app that runs workers, and the class of ours."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning, register

WORKER = "emailqueue.worker.EmailWorker"


@register("emailqueue")
def check_django_rq(**kwargs: Any) -> list[CheckMessage]:
    """See that django-rq is installed, whose commands run the workers."""
    if apps.is_installed("django_rq"):
        return []
    return [
        Error(
            "INSTALLED_APPS has no 'django_rq', so there is no command that runs workers.",
            hint="Add 'django_rq'.",
            id="emailqueue.E018",
        )
    ]


@register("emailqueue")
def check_worker_class(**kwargs: Any) -> list[CheckMessage]:
    """Warn where `manage.py rqworker` would run another worker than ours."""
    from django_rq.workers import get_worker_class

    from emailqueue.worker import EmailWorker

    try:
        worker = get_worker_class()  # type: ignore[no-untyped-call]  # django-rq types a part
    except (AttributeError, ImportError, ValueError):
        worker = None
    if isinstance(worker, type) and issubclass(worker, EmailWorker):
        return []
    hint = (
        f'Set RQ = {{"WORKER_CLASS": "{WORKER}"}}. If you start workers with --worker-class {WORKER} instead, write '
        '"emailqueue.W017" into SILENCED_SYSTEM_CHECKS.'
    )
    return [
        Warning(
            "RQ names no EmailWorker, so rqworker runs a worker that fails our mails, and may lose them.",
            hint=hint,
            id="emailqueue.W017",
        )
    ]
