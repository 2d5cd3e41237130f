"""Django's own messages, and settings that send them through the queue."""

from __future__ import annotations

from typing import Any

import django
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from pytest_django import Settings
from redis import Redis

import config.settings as config_settings
from emailqueue.conf import get_settings

QUEUE = "emailqueue.backends.QueuedEmailBackend"
HAS_MAILERS = django.VERSION >= (6, 1)
OFFICE = "Office <office@sender.example>"


def deliver_by(settings: Settings, backend: str, **options: Any) -> None:
    """Send Django's mail through the queue, and the queue's by `backend`."""
    if HAS_MAILERS:
        settings.MAILERS = {
            "default": {"BACKEND": QUEUE, "OPTIONS": options},
            "quiet": {"BACKEND": QUEUE, "OPTIONS": {"fail_silently": True}},
            "low": {"BACKEND": QUEUE, "OPTIONS": {"priority": "low"}},
            "really": {**config_settings.MAILERS["default"], "BACKEND": backend},  # type: ignore[attr-defined,unused-ignore]
        }
    else:
        settings.EMAIL_BACKEND = QUEUE
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, "MAILER": "really" if HAS_MAILERS else backend}
    get_settings.cache_clear()


def waiting(valkey: Redis, queue: str) -> int:
    return valkey.llen(f"rq:queue:{queue}")


def full_message(**fields: Any) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives(
        "Grüße",
        "A text",
        OFFICE,
        **{
            "to": ["Ada <ada@example.com>", "bob@example.com"],
            "cc": ["cy@example.com"],
            "bcc": ["hidden@example.com"],
            "reply_to": ["answers@sender.example"],
            "headers": {"X-One": "1"},
            **fields,
        },
    )
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("plan.ics", "BEGIN:VCALENDAR", "text/calendar")
    message.attach("picture.png", b"\x89PNG", "image/png")
    return message


def deliver_into_outbox(settings: Settings) -> list[EmailMessage]:
    deliver_by(settings, "django.core.mail.backends.locmem.EmailBackend")
    if HAS_MAILERS:
        settings.MAILERS["really"].pop("OPTIONS", None)
    mail.outbox = []
    return mail.outbox


class Signed(EmailMessage):
    """Builds its MIME by itself, as packages that sign do."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["X-Signature"] = "of what was built"
        return built
