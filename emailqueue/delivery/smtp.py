"""The only module that speaks SMTP."""

import contextlib
import smtplib
import socket
import time
from collections.abc import Callable
from email.utils import parseaddr
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from django.utils.encoding import punycode

from emailqueue.conf import Settings
from emailqueue.delivery.failures import as_text, judged, place
from emailqueue.delivery.mailers import new_backend
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import LOST, SENT, Outcome
from emailqueue.mail.content import as_bytes

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
        connect: Callable[[Settings], BaseEmailBackend] = new_backend,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._connect, self._clock = settings, connect, clock
        self._backend: BaseEmailBackend | None = None
        self._opened = self._used = 0.0
        self._sent = 0

    def send(self, message: EmailMessage, *, fence: Fence) -> Outcome:
        """
        Send `message`, asking `fence` at the last moment before the server can accept it.

        A connection that the server closed while it was idle is replaced before the fence, so
        that the mail does not notice. Errors become outcomes; what `fence` raises passes through.
        """
        if self._backend is not None and self._is_worn():
            self.close()
        is_kept = self._backend is not None
        try:
            backend = self._backend or self._open()
        except Exception as error:  # noqa: BLE001  a backend's errors are of any kind; wrong settings are no mail's fault
            code, reply = getattr(error, "smtp_code", None), as_text(getattr(error, "smtp_error", b""))
            return judged(error, phase="connect", code=code, reply=reply)
        outcome, broken_in = _send(backend, message, fence)
        if is_kept and broken_in == "mail":
            self.close()
            return self.send(message, fence=fence)
        self._used = self._clock()
        self._sent += 1
        if broken_in:
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

    def _open(self) -> BaseEmailBackend:
        backend = self._backend = self._connect(self._settings)
        try:
            backend.open()
            if (connection := _smtp(backend)) is not None:
                connection.ehlo_or_helo_if_needed()
        except BaseException:
            self.close()  # it may have failed after it had connected
            raise
        self._opened = self._used = self._clock()
        self._sent = 0
        return backend

    def _is_worn(self) -> bool:
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


class _Dialogue:
    """One mail on an open connection: MAIL, RCPT, the fence, DATA, the message."""

    def __init__(self, connection: smtplib.SMTP, message: EmailMessage, fence: Fence) -> None:
        self._connection, self._message, self._fence = connection, message, fence
        self.phase = "mail"
        self.broken_in = ""
        """The phase in which the connection became useless."""

    def run(self) -> Outcome:
        sender, recipient = _envelope(self._message)
        content = as_bytes(self._message.message(), linesep="\r\n")
        try:
            return self._speak(sender, recipient, content)
        except Refused as error:
            outcome = judged(error, phase=error.phase, code=error.code, reply=error.reply)
            if error.code == 421 or outcome.end is End.WAIT:
                self.broken_in = self.phase
            else:
                self._reset()
            return outcome
        except RedisUnavailable:  # from the fence, and a ConnectionError by its class: not the mail server's fault
            self._reset()
            raise
        except OSError as error:  # smtplib's own errors are OSErrors, too
            self.broken_in = self.phase
            return judged(error, phase=self.phase)
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
            self.broken_in = self.phase


def _send(backend: BaseEmailBackend, message: EmailMessage, fence: Fence) -> tuple[Outcome, str]:
    """Return the outcome, and the phase in which the connection became useless; empty: it is as good as before."""
    connection = _smtp(backend)
    if connection is not None and not _sends_itself(backend):
        dialogue = _Dialogue(connection, message, fence)
        return dialogue.run(), dialogue.broken_in
    if not fence():
        return LOST, ""
    try:
        backend.send_messages([message])
    except Exception as error:  # noqa: BLE001  a backend's errors are of any kind
        # What the backend's own dialogue left of the connection is not known.
        return judged(error, **place(error)), "" if connection is None else "body"
    return SENT, ""


def _smtp(backend: BaseEmailBackend | None) -> smtplib.SMTP | None:
    """Return the connection of what mailers.is_smtp() says delivers by SMTP; None for other backends."""
    return backend.connection if isinstance(backend, SMTPBackend) else None


def _sends_itself(backend: BaseEmailBackend) -> bool:
    """Return whether the backend has code of its own that we must not go round: it may sign or redirect the mail."""
    kind: Any = type(backend)
    return any(getattr(kind, name, None) is not getattr(SMTPBackend, name) for name in ("send_messages", "_send"))


def _envelope(message: EmailMessage) -> tuple[str, str]:
    """Return the addresses of sender and recipient."""
    recipients = message.recipients()
    if len(recipients) != 1:  # queued where another mailer was configured; see mailers.is_smtp()
        raise ValueError(f"A mail goes to one recipient by SMTP, and this one has {len(recipients)}.")
    return _plain(message.from_email), _plain(recipients[0])


def _plain(address: str) -> str:
    local, at, domain = parseaddr(address)[1].rpartition("@")
    return f"{local}@{punycode(domain)}" if at else domain


def _dot_stuffed(content: bytes) -> bytes:
    """Return `content` as it goes over the wire after DATA (RFC 5321, section 4.5.2)."""
    lines = content.removesuffix(b"\r\n") + b"\r\n"
    return (b"\r\n" + lines).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
