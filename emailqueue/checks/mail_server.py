"""Whether the mail server accepts our connection and, on request, a mail."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import suppress
from email.utils import format_datetime, make_msgid
from typing import Any

from django.core.checks import CheckMessage, Error, Info, Warning
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from django.utils import timezone

from emailqueue.conf import Settings
from emailqueue.delivery.mailers import has_mailers, new_backend
from emailqueue.delivery.smtp import Mailer
from emailqueue.errors import InvalidAddress
from emailqueue.jobs.ends import End
from emailqueue.schema.address import valid_address
from emailqueue.verdict.judge import judge, sentence

PATIENCE = 10.0
"""Seconds that the doctor waits for each answer: it must end before the monitor that runs it gives up."""
SEND_NOTHING = ("console", "dummy", "filebased", "locmem")
"""Django's backends that deliver to nobody."""


def mail(settings: Settings, *, debug: bool, to: str | None) -> Iterator[CheckMessage]:
    """Look whether the mail server accepts our connection, and if `to` is given a mail."""
    findings = list(mail_server(settings, debug=debug))
    yield from findings
    if to and any(finding.id in ("mail-server.backend", "mail-server.refused") for finding in findings):
        text = "No test mail was sent, since the mail server does not accept our connection."
        yield Error(text, hint="See the finding about the mail server.", obj="test mail", id="test-mail.not-sent")
    elif to:
        yield test_mail(settings, to)


def mail_server(settings: Settings, *, debug: bool) -> Iterator[CheckMessage]:
    """Connect as a worker does, with TLS and AUTH; send nothing."""
    try:
        backend = impatient_backend(settings)
    except Exception as failure:  # noqa: BLE001  a backend is any code of any project
        text = f"The mail backend cannot be made: {_named_error(failure)}"
        yield Error(text, hint="Correct what the sentence names.", id="mail-server.backend")
        return
    if not isinstance(backend, SMTPBackend):
        yield _other(backend, debug=debug)
        return
    try:
        backend.open()
        yield from _dialogue(backend)
    except Exception as failure:  # noqa: BLE001  smtplib, ssl and socket raise many kinds
        text = f"{backend.host}:{backend.port} does not accept our connection: {_named_error(failure)}"
        yield Error(text, hint=_hint(failure), id="mail-server.refused")
    finally:
        with suppress(OSError):
            backend.close()


def impatient_backend(settings: Settings) -> BaseEmailBackend:
    """Return the backend that a worker uses, but one that waits for each answer no longer than the doctor does."""
    backend = new_backend(settings)
    if isinstance(backend, SMTPBackend):
        backend.timeout = min(backend.timeout or PATIENCE, PATIENCE)
    return backend


def mail_timeout(settings: Settings) -> float | None:
    """Return the time-out of the mail backend's socket; None where it has none."""
    with suppress(Exception):
        timeout: Any = getattr(new_backend(settings), "timeout", None)
        return float(timeout) if timeout else None
    return None


def test_mail(settings: Settings, address: str) -> CheckMessage:
    """Send one mail to `address` as a worker does, past the queue."""
    try:
        message = _message(valid_address(address))
    except InvalidAddress as failure:
        hint = "Name one plain address, as in --mail you@example.com."
        return Error(str(failure), hint=hint, obj="test mail", id="test-mail.address")
    mailer = Mailer(settings, connect=impatient_backend)
    outcome = mailer.send(message, fence=lambda: True)
    mailer.close()
    if outcome.end is End.SENT:
        text = "The mail server has accepted the test mail. See whether it arrives, and not as spam."
        return Info(text, obj="test mail", id="test-mail.sent")
    assert outcome.failure is not None
    reply = outcome.failure.smtp_reply or outcome.failure.message
    code = f"{outcome.failure.smtp_code} " if outcome.failure.smtp_code else ""
    text = f"The test mail was not accepted: {code}{reply}".replace(address, "the address")
    return Error(text, hint=sentence(outcome.failure.rule), obj="test mail", id="test-mail.refused")


def _message(to: str) -> EmailMessage:
    return EmailMessage(
        subject="Test mail of the e-mail queue",
        body="This mail was sent by `manage.py emailqueue doctor --mail`. Whoever reads it knows that mail goes out.\n",
        to=[to],
        headers={
            "Message-ID": make_msgid("emailqueue"),
            "Date": format_datetime(timezone.now()),
            "Auto-Submitted": "auto-generated",
        },
    )


def _other(backend: BaseEmailBackend, *, debug: bool) -> CheckMessage:
    path = f"{type(backend).__module__}.{type(backend).__qualname__}"
    if path in (f"django.core.mail.backends.{name}.EmailBackend" for name in SEND_NOTHING):
        text = f"Mails go to {path}, which delivers them to nobody."
        hint = f"Name an SMTP server in {_option('host')}, or a backend that delivers in EMAIL_QUEUE['MAILER']."
        return (Warning if debug else Error)(text, hint=hint, id="mail-server.no-delivery")
    text = f"Mails go to {path}, which is no SMTP: only --mail ADDRESS shows whether it delivers."
    return Info(text, id="mail-server.not-smtp")


def _dialogue(backend: SMTPBackend) -> Iterator[CheckMessage]:
    connection = backend.connection
    assert isinstance(connection, smtplib.SMTP)
    connection.ehlo_or_helo_if_needed()
    encrypted = connection.sock.version() if isinstance(connection.sock, ssl.SSLSocket) else ""
    login = f"logged in as {backend.username!r}" if backend.username and backend.password else "without login"
    text = f"{backend.host}:{backend.port} answers, {encrypted or 'without TLS'}, {login}."
    yield Info(text, id="mail-server.answers")
    if not encrypted and backend.username:
        yield Warning(
            "Name and password go to the mail server unencrypted.",
            hint=f"Set {_option('use_tls')}, and the port that goes with it: 587, or 465 for TLS from the first byte.",
            id="mail-server.login-without-tls",
        )
    elif not encrypted and connection.has_extn("starttls"):
        yield Warning(
            "The mail server offers TLS, which is not used.",
            hint=f"Set {_option('use_tls')}; the mails of all users go over this line.",
            id="mail-server.tls-unused",
        )


def _hint(failure: Exception) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"Name the host in {_option('host')} as its certificate does, or have this machine trust its authority."
    if isinstance(failure, ssl.SSLError):
        return (
            f"Check {_option('port')} and {_option('use_tls')}: 587 turns to TLS by STARTTLS, 465 speaks it from the "
            "first byte."
        )
    if isinstance(failure, smtplib.SMTPNotSupportedError):
        return (
            f"The server offers no TLS or no login on this port; check {_option('port')}, {_option('use_tls')} and "
            f"{_option('username')}."
        )
    code, reply = getattr(failure, "smtp_code", None), getattr(failure, "smtp_error", b"")
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return str(judge("connect", code, text, error=failure).sentence)


def _option(name: str) -> str:
    """Return where the project sets it: beside MAILERS Django refuses the older settings."""
    if has_mailers():
        return f"{name!r} in the OPTIONS of MAILERS"
    return "EMAIL_HOST_USER" if name == "username" else f"EMAIL_{name.upper()}"


def _named_error(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}"
