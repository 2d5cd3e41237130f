"""Backends of Django, subclasses of the SMTP one too, as the mailer."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from pytest_django import Settings as DjangoSettings

from emailqueue.conf import Settings
from emailqueue.delivery.smtp import CHECK_AFTER, Mailer
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import LOST, SENT
from emailqueue.testing import MailServer
from tests.support.mailer import Clock, failure, message, send


class FailingBackend(BaseEmailBackend):
    """Fails with what the subject names."""

    errors: dict[str, Exception] = {
        "refused": smtplib.SMTPDataError(554, b"spam"),
        "later": smtplib.SMTPDataError(451, "greylisted"),  # some give text
        "broken": RuntimeError("no API key"),
    }

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        raise self.errors[str(email_messages[0].subject)]


class RedirectingBackend(SMTPBackend):
    """Sends to one address whatever is meant for others, as a staging site does."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for each in email_messages:
            each.to = ["staging@example.com"]
        return super().send_messages(email_messages) or 0


class StampingBackend(SMTPBackend):
    """Changes the message at the last moment, as one that signs does."""

    def _send(self, email_message: EmailMessage) -> bool:
        email_message.extra_headers["X-Stamp"] = "paid"
        return bool(super()._send(email_message))  # type: ignore[misc]


def through(backend: str, settings: DjangoSettings) -> Settings:
    """Return settings whose mailer is `backend`, in the way of the Django at hand."""
    if django.VERSION < (6, 1):
        return Settings(mailer=backend)
    settings.MAILERS = {**settings.MAILERS, "other": {"BACKEND": backend}}
    return Settings(mailer="other")


def through_our(subclass: type[SMTPBackend], settings: DjangoSettings) -> Settings:
    """Return settings whose mailer is a subclass of the SMTP backend that connects as that does."""
    made = through(f"{__name__}.{subclass.__name__}", settings)
    if django.VERSION >= (6, 1):
        settings.MAILERS["other"]["OPTIONS"] = settings.MAILERS["default"]["OPTIONS"]
    return made


def test_another_backend_is_called_once_for_each_mail(settings: DjangoSettings, clock: Clock) -> None:
    mailer = Mailer(through("django.core.mail.backends.locmem.EmailBackend", settings), clock=clock)

    outcomes = [send(mailer), send(mailer), mailer.send(message(), fence=lambda: False)]
    mailer.abort()
    clock.now += CHECK_AFTER
    outcomes.append(send(mailer))

    assert outcomes == [SENT, SENT, LOST, SENT]
    assert len(mail.outbox) == 3
    mailer.close()


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("refused", (End.PERMANENT, "body", 554)),
        ("later", (End.RETRY, "body", 451)),
        ("broken", (End.RETRY, "", None)),
    ],
)
def test_what_another_backend_raises_becomes_an_outcome(
    settings: DjangoSettings, subject: str, expected: tuple[End, str, int | None]
) -> None:
    mailer = Mailer(through(f"{__name__}.FailingBackend", settings))

    outcome = mailer.send(message(subject=subject), fence=lambda: True)

    assert failure(outcome) == expected


def test_a_subclass_of_the_smtp_backend_sends_by_its_own_code_on_one_connection(
    mailbox: MailServer, settings: DjangoSettings, clock: Clock
) -> None:
    redirecting = Mailer(through_our(RedirectingBackend, settings), clock=clock)

    outcomes = [send(redirecting), send(redirecting)]
    clock.now += CHECK_AFTER
    outcomes.append(send(redirecting))
    redirecting.close()

    assert outcomes == [SENT, SENT, SENT]
    assert [mail.recipient for mail in mailbox.messages] == ["staging@example.com"] * 3
    assert mailbox.connections == 1


def test_a_subclass_that_changes_how_one_mail_is_sent_is_not_gone_round(
    mailbox: MailServer, settings: DjangoSettings
) -> None:
    stamping = Mailer(through_our(StampingBackend, settings))

    send(stamping)
    stamping.close()

    assert mailbox.messages[0].message["X-Stamp"] == "paid"


@pytest.mark.parametrize(
    ("phase", "reply", "expected"),
    [
        ("rcpt", "550 no such mailbox", (End.BAD_ADDRESS, "rcpt", 550)),
        ("body", "drop", (End.AMBIGUOUS, "", None)),
    ],
)
def test_what_fails_in_a_subclass_is_judged_and_the_next_mail_has_a_good_connection(
    mailbox: MailServer, settings: DjangoSettings, phase: str, reply: str, expected: tuple[End, str, int | None]
) -> None:
    mailbox.script(phase, [reply])
    redirecting = Mailer(through_our(RedirectingBackend, settings))

    failed, sent = send(redirecting), send(redirecting)
    redirecting.close()

    assert failure(failed) == expected
    assert sent == SENT
