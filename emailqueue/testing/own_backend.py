"""The project's own e-mail backend, which Django's test runner takes away, put back where it is the queue."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends import locmem, smtp
from django.test.utils import _TestState, override_settings
from django.utils.module_loading import import_string

from emailqueue.conf import get_settings
from emailqueue.delivery.mailers import is_queue

LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


class SMTPInMemory(smtp.EmailBackend):
    """Stands for the mailer that delivers: takes one recipient at a time, as SMTP does, and keeps in mail.outbox."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Keep them all."""
        return locmem.EmailBackend(alias="default").send_messages(email_messages)


def own_queue_backend() -> AbstractContextManager[object]:
    """
    Return a context in which Django's mail is queued again, if the settings of the project say so.

    Another backend that a test has set stays, and so does what does not queue, since that would really send.
    """
    # Where setup_test_environment() keeps what it takes away; nothing public tells it.
    saved = getattr(_TestState, "saved_data", None)
    if mailers := getattr(saved, "mailers", None):  # Django 6.1
        again = _again(mailers)
        return override_settings(MAILERS={**settings.MAILERS, **again}) if again else nullcontext()
    backend = getattr(saved, "email_backend", "")
    if backend and is_queue(backend) and settings.EMAIL_BACKEND == LOCMEM:
        return override_settings(EMAIL_BACKEND=backend)
    return nullcontext()


def _again(mailers: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the mailers that queue, and in the place of the one that delivers by SMTP one that sends nothing."""
    taken = {alias: mailer for alias, mailer in mailers.items() if _path(settings.MAILERS.get(alias, {})) == LOCMEM}
    queues = {alias: mailer for alias, mailer in taken.items() if is_queue(_path(mailer))}
    delivers = get_settings().mailer or "default"
    if queues and delivers in taken and issubclass(import_string(_path(taken[delivers])), smtp.EmailBackend):
        return {**queues, delivers: {"BACKEND": f"{__name__}.{SMTPInMemory.__qualname__}"}}
    return queues


def _path(mailer: Mapping[str, Any]) -> str:
    return str(mailer.get("BACKEND", "django.core.mail.backends.smtp.EmailBackend"))
