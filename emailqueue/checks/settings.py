"""Whether the project's settings have what the queue relies on, and what EMAIL_QUEUE names is there."""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, InvalidStorageError

from emailqueue.conf import get_settings, knows_time_zones
from emailqueue.delivery.mailers import queue_is_used, require_delivery
from emailqueue.housekeeping import alerts
from emailqueue.mail.attachments import FOLDER, storage

WORKER = "emailqueue.worker.EmailWorker"


@register("emailqueue")
def check_django_rq(**kwargs: Any) -> list[CheckMessage]:
    """See that django-rq is installed, whose commands run the workers."""
    if apps.is_installed("django_rq"):
        return []
    text = "INSTALLED_APPS has no 'django_rq', so there is no command that runs workers."
    return [Error(text, hint="Add 'django_rq'.", id="emailqueue.E018")]


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
    text = "RQ names no EmailWorker, so rqworker runs a worker that fails our mails, and may lose them."
    return [Warning(text, hint=hint, id="emailqueue.W017")]


@register("emailqueue")
def check_alerts(**kwargs: Any) -> list[CheckMessage]:
    """Find the function that EMAIL_QUEUE["ALERTS"] names."""
    try:
        alerts.handler()
    except ImportError as error:
        hint = "Write the dotted path of a function that takes a Digest, 'managers' or 'off'."
        return [Error(f"EMAIL_QUEUE['ALERTS'] leads nowhere: {error}.", hint=hint, id="emailqueue.E021")]
    return []


@register("emailqueue")
def check_mailer(**kwargs: Any) -> list[CheckMessage]:
    """Find what really delivers: it must be there, and must not be the queue."""
    try:
        require_delivery(get_settings())
    except ImproperlyConfigured as error:
        return [Error(str(error), id="emailqueue.E031")]
    return []


@register("emailqueue")
def check_attachment_storage(**kwargs: Any) -> list[CheckMessage]:
    """Warn where large attachments would land in the folder of the project."""
    alias = get_settings().attachment_storage
    try:
        place = storage()
    except InvalidStorageError as error:
        hint = "Set EMAIL_QUEUE['ATTACHMENT_STORAGE'] to an alias in STORAGES that works."
        return [Error(f"The storage {alias!r} cannot be made: {error}.", hint=hint, id="emailqueue.E032")]
    if not queue_is_used() or not isinstance(place, FileSystemStorage) or place.base_location:
        return []
    hint = "Set MEDIA_ROOT, or EMAIL_QUEUE['ATTACHMENT_STORAGE'] to an alias in STORAGES that is private."
    text = (
        f"The storage {alias!r} has no folder of its own, so large attachments would lie in the working directory "
        f"of each process, in {FOLDER}."
    )
    return [Warning(text, hint=hint, id="emailqueue.W033")]


@register("emailqueue")
def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """Ask for aware times: what a worker writes into the database carries its zone."""
    if knows_time_zones():
        return []
    hint = "Set USE_TZ = True, which is Django's default."
    return [Error("USE_TZ is off, so dead letters could not be written.", hint=hint, id="emailqueue.E051")]
