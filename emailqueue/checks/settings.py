"""Whether EMAIL_QUEUE, and the settings of Django that the queue relies on, name things that are there."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, InvalidStorageError

from emailqueue.conf import get_settings, knows_time_zones
from emailqueue.delivery.mailers import queue_is_used, require_delivery
from emailqueue.housekeeping import alerts
from emailqueue.mail.attachments import FOLDER, storage


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
    return [
        Warning(
            f"The storage {alias!r} has no folder of its own, so large attachments would lie in the working directory "
            f"of each process, in {FOLDER}.",
            hint=hint,
            id="emailqueue.W033",
        )
    ]


@register("emailqueue")
def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """Ask for aware times: what a worker writes into the database carries its zone."""
    if knows_time_zones():
        return []
    hint = "Set USE_TZ = True, which is Django's default."
    return [Error("USE_TZ is off, so dead letters could not be written.", hint=hint, id="emailqueue.E051")]
