"""The only module that speaks SMTP."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import time
from collections.abc import Callable
from email.generator import BytesGenerator
from email.utils import parseaddr
from io import BytesIO
from typing import Any
from urllib.error import HTTPError

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from django.utils.encoding import punycode

from emailqueue.conf import Settings
from emailqueue.delivery.mailers import new_backend
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.outcome import LOST, SENT, Kind, Outcome
from emailqueue.verdict.judge import Verdict, judge

Fence = Callable[[], bool]

RECYCLE_AFTER = 100
"""Mails after which a connection is closed: some servers refuse to take more on one."""
RECYCLE_SECONDS = 300.0
"""Age at which a connection is closed."""
CHECK_AFTER = 5.0
"""Idle seconds after which a connection is asked (NOOP) whether it still lives."""


class Refused(Exception):
    """The server answered with a code that means no."""

    def __init__(self, phase: str, code: int, reply: bytes) -> None:
        self.phase, self.code, self.reply = phase, code, reply.decode("utf-8", "replace")
        super().__init__(f"{code} {self.reply}")


class Mailer:
    """
    One thread's way to the mail server: an SMTP connection that is kept open between mails.

    For a backend that sends by code of its own, send() is one call of its send_messages(), be it a subclass of
    Django's SMTP backend. `connect` makes the backend.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Callable[[Settings], BaseEmailBackend] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._connect = connect or new_backend
        self._clock = clock
        self._backend: BaseEmailBackend | None = None
        self._opened = self._used = 0.0
        self._sent = 0

    def send(self, message: EmailMessage, *, fence: Fence) -> Outcome:
        """
        Send `message`, asking `fence` at the last moment before the server can accept it.

        A connection that the server closed while it was idle is replaced before the fence, so
        that the mail does not notice. Errors become outcomes; what `fence` raises passes through.
        """
        fresh = self._prepare()
        if isinstance(fresh, Outcome):
            return fresh
        assert self._backend is not None
        connection = _smtp(self._backend)
        if connection is None or _sends_itself(self._backend):
            outcome = self._send_by_backend(self._backend, message, fence)
            # What a foreign dialogue left of the connection is not known.
            broken = connection is not None and outcome.failure is not None
        else:
            dialogue = _Dialogue(connection, message, fence)
            outcome, broken = dialogue.run(), dialogue.broken
            if not fresh and broken and dialogue.phase == "mail":
                self.close()
                return self.send(message, fence=fence)
        self._used = self._clock()
        self._sent += 1
        if broken:
            self.close()
        return outcome

    def abort(self) -> None:
        """Break the connection from another thread: whatever waits on it fails at once."""
        sock = getattr(_smtp(self._backend), "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, if there is one."""
        backend, self._backend = self._backend, None
        if backend is not None:
            with contextlib.suppress(OSError):
                backend.close()

    def _prepare(self) -> bool | Outcome:
        """Have an open connection: True when it is new, False when it was kept, or the outage that prevents it."""
        if self._backend is not None and self._worn():
            self.close()
        if self._backend is not None:
            return False
        backend = None
        try:
            backend = self._connect(self._settings)
            backend.open()
            if (connection := _smtp(backend)) is not None:
                connection.ehlo_or_helo_if_needed()
        except Exception as error:  # noqa: BLE001  a foreign backend's errors are of any kind; wrong settings are no mail's fault
            if backend is not None:
                with contextlib.suppress(OSError):
                    backend.close()  # it may have failed after it had connected
            code, reply = getattr(error, "smtp_code", None), _text(getattr(error, "smtp_error", b""))
            verdict = judge("connect", code, reply, error=error)
            return _failed(verdict, error, phase="connect", code=code, reply=reply)
        self._backend = backend
        self._opened = self._used = self._clock()
        self._sent = 0
        return True

    def _worn(self) -> bool:
        now = self._clock()
        if self._sent >= RECYCLE_AFTER or now - self._opened > RECYCLE_SECONDS:
            return True
        connection = _smtp(self._backend)
        if connection is None or now - self._used < CHECK_AFTER:
            return False
        try:
            return connection.noop()[0] != 250
        except OSError:
            return True

    def _send_by_backend(self, backend: BaseEmailBackend, message: EmailMessage, fence: Fence) -> Outcome:
        if not fence():
            return LOST
        try:
            backend.send_messages([message])
        except Exception as error:  # noqa: BLE001  a foreign backend's errors are of any kind
            if (said := _said(error)) is None:
                return _failed(judge("api", _http_status(error), str(error), error=error), error)
            phase, code, reply = said
            return _failed(judge(phase, code, reply, error=error), error, phase=phase, code=code, reply=reply)
        return SENT


class _Dialogue:
    """One mail on an open connection: MAIL, RCPT, the fence, DATA, the message."""

    def __init__(self, connection: smtplib.SMTP, message: EmailMessage, fence: Fence) -> None:
        self._connection, self._message, self._fence = connection, message, fence
        self.phase = "mail"
        self.broken = False
        """Whether the connection is of no use any more."""

    def run(self) -> Outcome:
        sender, recipient = self._envelope()
        content = _as_bytes(self._message)
        try:
            return self._speak(sender, recipient, content)
        except Refused as error:
            verdict = judge(error.phase, error.code, error.reply)
            if error.code == 421 or verdict.kind is Kind.OUTAGE:
                self.broken = True
            else:
                self._reset()
            return _failed(verdict, error, phase=error.phase, code=error.code, reply=error.reply)
        except RedisUnavailable:  # from the fence, and a ConnectionError by its class: not the mail server's fault
            self._reset()
            raise
        except OSError as error:  # smtplib's own errors are OSErrors, too
            self.broken = True
            return _failed(judge(self.phase, error=error), error, phase=self.phase)
        except BaseException:
            self._reset()
            raise

    def _speak(self, sender: str, recipient: str, content: bytes) -> Outcome:
        connection = self._connection
        options = [f"size={len(content)}"] if connection.has_extn("size") else []
        if connection.has_extn("8bitmime"):
            options.append("body=8bitmime")
        self._expect(connection.mail(sender, options), 250)
        self.phase = "rcpt"
        self._expect(connection.rcpt(recipient), 250, 251)
        if not self._fence():
            self._reset()
            return LOST
        self.phase = "data"
        self._expect(connection.docmd("data"), 354)
        self.phase = "body"
        connection.send(_dot_stuffed(content))
        self._expect(connection.getreply(), 250)
        return SENT

    def _expect(self, answer: tuple[int, bytes], *accepted: int) -> None:
        code, reply = answer
        if code == -1:  # smtplib's word for a reply that is none
            raise smtplib.SMTPServerDisconnected(f"The server's reply makes no sense: {reply!r}")
        if code not in accepted:
            raise Refused(self.phase, code, reply)

    def _reset(self) -> None:
        try:
            self._connection.rset()
        except OSError:
            self.broken = True

    def _envelope(self) -> tuple[str, str]:
        recipients = self._message.recipients()
        if len(recipients) != 1:  # queued where another mailer was configured; see mailers.is_smtp()
            raise ValueError(f"A mail goes to one recipient by SMTP, and this one has {len(recipients)}.")
        recipient = recipients[0]
        return _envelope_address(self._message.from_email), _envelope_address(recipient)


def _smtp(backend: BaseEmailBackend | None) -> smtplib.SMTP | None:
    """Return the connection of what mailers.is_smtp() says delivers by SMTP; None for other backends."""
    return backend.connection if isinstance(backend, SMTPBackend) else None


def _sends_itself(backend: BaseEmailBackend) -> bool:
    """Return whether the backend has code of its own that we must not go round: it may sign or redirect the mail."""
    kind: Any = type(backend)
    return any(getattr(kind, name, None) is not getattr(SMTPBackend, name) for name in ("send_messages", "_send"))


def _failed(verdict: Verdict, error: BaseException, **where: Any) -> Outcome:
    return Outcome.failed(verdict.kind, error, verdict=verdict.action.value, rule=verdict.rule, **where)


def _said(error: Exception) -> tuple[str, int, str] | None:
    """Return phase, code and reply of an error that smtplib raised in another backend; None for any other."""
    if isinstance(error, smtplib.SMTPRecipientsRefused) and error.recipients:
        code, reply = next(iter(error.recipients.values()))
        return "rcpt", code, _text(reply)
    if not isinstance(error, smtplib.SMTPResponseException):
        return None
    phases = {
        smtplib.SMTPConnectError: "connect",
        smtplib.SMTPHeloError: "connect",
        smtplib.SMTPAuthenticationError: "connect",
        smtplib.SMTPSenderRefused: "mail",
    }
    return phases.get(type(error), "body"), error.smtp_code, _text(error.smtp_error)


def _http_status(error: BaseException | None) -> int | None:
    """Return the HTTP status that an API answered, from where anymail, requests, urllib and botocore keep it."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for status in (getattr(error, "status_code", None), response, getattr(response, "status_code", None)):
            if isinstance(status, int):
                return status
        if isinstance(error, HTTPError):
            return error.code
        error = error.__cause__
    return None


def _envelope_address(address: str) -> str:
    """Return the plain address, its domain in ASCII."""
    local, at, domain = parseaddr(address)[1].rpartition("@")
    return f"{local}@{punycode(domain)}" if at else domain


def _as_bytes(message: EmailMessage) -> bytes:
    # Like as_bytes() of Django's messages, whose argument for the line ends is another in each version.
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False).flatten(message.message(), linesep="\r\n")
    return written.getvalue()


def _dot_stuffed(content: bytes) -> bytes:
    """Return `content` as it goes over the wire after DATA (RFC 5321, section 4.5.2)."""
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def _text(reply: Any) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
