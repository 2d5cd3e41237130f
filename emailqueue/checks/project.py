"""What the system checks say about lines and files of the project that are easily forgotten."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.template import Engine, TemplateDoesNotExist, TemplateSyntaxError

from emailqueue.email_types import EmailType, email_types

WORKER = "emailqueue.worker.EmailWorker"


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
    return [
        CheckWarning(
            "RQ names no EmailWorker, so rqworker runs a worker that fails our mails, and may lose them.",
            hint=f'Set RQ = {{"WORKER_CLASS": "{WORKER}"}}. If you start workers with --worker-class {WORKER} '
            'instead, write "emailqueue.W017" into SILENCED_SYSTEM_CHECKS.',
            id="emailqueue.W017",
        )
    ]


def check_templates(**kwargs: Any) -> list[CheckMessage]:
    """Find the template of each registered e-mail type, without rendering it."""
    missing = [email_type for email_type in email_types().values() if not _exists(email_type.template)]
    return [_no_template(email_type) for email_type in missing]


def _no_template(email_type: EmailType) -> CheckMessage:
    return Error(
        f"The template {email_type.template!r} of the e-mail type {email_type.name!r} does not exist.",
        hint='Write it into a folder "templates" of an app, or into one of DIRS in TEMPLATES, under that name.',
        id="emailqueue.E019",
    )


def _exists(template: str) -> bool:
    try:
        Engine.get_default().get_template(template)
    except (TemplateDoesNotExist, ImproperlyConfigured):
        return False
    except TemplateSyntaxError:  # which is the doctor's to tell
        return True
    return True
