"""Whether the mail server takes our connection, and on wish a mail."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import suppress
from email.utils import format_datetime, make_msgid
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from django.utils import timezone

from emailqueue.checks.finding import Finding, error, ok, warning
from emailqueue.conf import Settings
from emailqueue.delivery.mailers import has_mailers, new_backend
from emailqueue.delivery.smtp import Mailer
from emailqueue.enqueue.call import valid_address
from emailqueue.errors import InvalidAddress
from emailqueue.jobs.outcome import Kind
from emailqueue.verdict.judge import judge, sentence

PATIENCE = 10.0
"""Seconds that the doctor waits for each answer: a probe must end before who asks for it gives up."""
SEND_NOTHING = ("console", "dummy", "filebased", "locmem")
"""Django's backends that bring no mail to anybody."""


def mail(settings: Settings, *, debug: bool, to: str | None) -> Iterator[Finding]:
    """Look whether the mail server takes our connection, and if `to` is given a mail."""
    findings = list(mail_server(settings, debug=debug))
    yield from findings
    if to and any(finding.id in ("mail-server.backend", "mail-server.refused") for finding in findings):
        text = "No test mail was sent, since the mail server does not take our connection."
        yield error("test mail", "not-sent", text, "See the finding about the mail server.")
    elif to:
        yield test_mail(settings, to)


def mail_server(settings: Settings, *, debug: bool) -> Iterator[Finding]:
    """Connect as a worker does, with TLS and AUTH; send nothing."""
    try:
        backend = impatient_backend(settings)
    except Exception as failure:  # noqa: BLE001  a backend is any code of any project
        yield error(
            "mail server",
            "backend",
            f"The mail backend cannot be made: {_told(failure)}",
            "Mend what the sentence names.",
        )
        return
    if not isinstance(backend, SMTPBackend):
        yield _other(backend, debug=debug)
        return
    try:
        backend.open()
        yield from _dialogue(backend)
    except Exception as failure:  # noqa: BLE001  smtplib, ssl and socket raise many kinds
        yield _refused(backend, failure)
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
    """Return the time-out of the mail backend's socket; None where it has none to tell."""
    with suppress(Exception):
        timeout: Any = getattr(new_backend(settings), "timeout", None)
        return float(timeout) if timeout else None
    return None


def test_mail(settings: Settings, address: str) -> Finding:
    """Send one mail to `address` as a worker does, beside the queue."""
    try:
        to = valid_address(address)
    except InvalidAddress as failure:
        return error("test mail", "address", str(failure), "Name one plain address, as in --mail you@example.com.")
    message = EmailMessage(
        subject="Test mail of the e-mail queue",
        body="This mail was sent by `manage.py emailqueue doctor --mail`. Whoever reads it knows that mail goes out.\n",
        to=[to],
        headers={
            "Message-ID": make_msgid("emailqueue"),
            "Date": format_datetime(timezone.now()),
            "Auto-Submitted": "auto-generated",
        },
    )
    mailer = Mailer(settings, connect=impatient_backend)
    outcome = mailer.send(message, fence=lambda: True)
    mailer.close()
    if outcome.kind is Kind.SENT:
        return ok(
            "test mail", "sent", "The mail server has taken the test mail. Look whether it arrives, and not as spam."
        )
    assert outcome.failure is not None
    reply = outcome.failure.smtp_reply or outcome.failure.message
    code = f"{outcome.failure.smtp_code} " if outcome.failure.smtp_code else ""
    said = _without(address, f"{code}{reply}")
    return error("test mail", "refused", f"The test mail was not taken: {said}", sentence(outcome.failure.rule))


def _other(backend: BaseEmailBackend, *, debug: bool) -> Finding:
    path = f"{type(backend).__module__}.{type(backend).__qualname__}"
    if any(path == f"django.core.mail.backends.{name}.EmailBackend" for name in SEND_NOTHING):
        text = f"Mails go to {path}, which brings them to nobody."
        way_out = f"Name an SMTP server in {_named('host')}, or a backend that delivers in EMAIL_QUEUE['MAILER']."
        return (
            warning("mail server", "no-delivery", text, way_out)
            if debug
            else error("mail server", "no-delivery", text, way_out)
        )
    return ok(
        "mail server",
        "not-smtp",
        f"Mails go to {path}, which is no SMTP: only --mail ADDRESS tells whether it delivers.",
    )


def _dialogue(backend: SMTPBackend) -> Iterator[Finding]:
    connection = backend.connection
    assert isinstance(connection, smtplib.SMTP)
    connection.ehlo_or_helo_if_needed()
    encrypted = connection.sock.version() if isinstance(connection.sock, ssl.SSLSocket) else ""
    login = f"logged in as {backend.username!r}" if backend.username and backend.password else "without login"
    yield ok(
        "mail server",
        "answers",
        f"{backend.host}:{backend.port} answers, {encrypted or 'without TLS'}, {login}.",
    )
    if not encrypted and backend.username:
        yield warning(
            "mail server",
            "login-without-tls",
            "Name and password go to the mail server unencrypted.",
            f"Set {_named('use_tls')}, and the port that goes with it: 587, or 465 for TLS from the first byte.",
        )
    elif not encrypted and connection.has_extn("starttls"):
        yield warning(
            "mail server",
            "tls-unused",
            "The mail server offers TLS, which is not used.",
            f"Set {_named('use_tls')}; the mails of all users go over this line.",
        )


def _refused(backend: SMTPBackend, failure: Exception) -> Finding:
    place = f"{backend.host}:{backend.port}"
    code, reply = getattr(failure, "smtp_code", None), getattr(failure, "smtp_error", b"")
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    verdict = judge("connect", code, text, error=failure)
    way_out = sentence(verdict.rule)
    if isinstance(failure, ssl.SSLCertVerificationError):
        way_out = (
            f"Name the host in {_named('host')} as its certificate does, or have this machine trust its authority."
        )
    elif isinstance(failure, ssl.SSLError):
        way_out = (
            f"Check {_named('port')} and {_named('use_tls')}: 587 turns to TLS by STARTTLS, 465 speaks it from the "
            "first byte."
        )
    elif isinstance(failure, smtplib.SMTPNotSupportedError):
        way_out = (
            f"The server offers no TLS or no login on this port; check {_named('port')}, {_named('use_tls')} and "
            f"{_named('username')}."
        )
    return error("mail server", "refused", f"{place} does not take our connection: {_told(failure)}", way_out)


def _named(option: str) -> str:
    """Return where the project says it: beside MAILERS Django refuses the older settings."""
    if has_mailers():
        return f"{option!r} in the OPTIONS of MAILERS"
    return "EMAIL_HOST_USER" if option == "username" else f"EMAIL_{option.upper()}"


def _told(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}"


def _without(address: str, text: str) -> str:
    return text.replace(address, "the address")
