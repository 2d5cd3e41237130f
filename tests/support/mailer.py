"""The mailer with a clock that tests move, and the messages that it sends."""

from __future__ import annotations

from typing import Any

import django
from django.core.mail import EmailMessage
from pytest_django import Settings as DjangoSettings

from emailqueue.delivery.smtp import Mailer
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import Outcome


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def configure(settings: DjangoSettings, **options: Any) -> None:
    """Set options of the SMTP backend in the way of the Django at hand."""
    if django.VERSION >= (6, 1):
        default = settings.MAILERS["default"]
        settings.MAILERS = {"default": {**default, "OPTIONS": {**default["OPTIONS"], **options}}}
        return
    names = {"host": "EMAIL_HOST", "port": "EMAIL_PORT", "timeout": "EMAIL_TIMEOUT", "use_tls": "EMAIL_USE_TLS"}
    names |= {"username": "EMAIL_HOST_USER", "password": "EMAIL_HOST_PASSWORD"}
    for option, value in options.items():
        setattr(settings, names[option], value)


def message(to: str = "ada@example.com", body: str = "Dear Ada", subject: str = "Hello") -> EmailMessage:
    return EmailMessage(subject, body, "Example <noreply@sender.example>", [to])


def send(mailer: Mailer, to: str = "ada@example.com") -> Outcome:
    return mailer.send(message(to), fence=lambda: True)


def failure(outcome: Outcome) -> tuple[End, str, int | None]:
    assert outcome.failure is not None
    return outcome.end, outcome.failure.phase, outcome.failure.smtp_code
