from __future__ import annotations

import smtplib
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from emailqueue.conf import Settings
from emailqueue.delivery.smtp import CHECK_AFTER, RECYCLE_AFTER, RECYCLE_SECONDS, Mailer
from emailqueue.jobs.outcome import LOST, SENT, Kind, Outcome
from emailqueue.testing import MailServer
from emailqueue.worker.fence import FenceUnanswered
from tests.conftest import eventually

Answering = Callable[..., None]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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
        for message in email_messages:
            message.to = ["staging@example.com"]
        return super().send_messages(email_messages) or 0


class StampingBackend(SMTPBackend):
    """Changes the message at the last moment, as one that signs does."""

    def _send(self, email_message: EmailMessage) -> bool:
        email_message.extra_headers["X-Stamp"] = "paid"
        return bool(super()._send(email_message))  # type: ignore[misc]


class PlainServer(socketserver.ThreadingTCPServer):
    """Listens on a free port; see the fixture `answering`."""

    def __init__(self, replies: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), PlainDialogue)
        self.replies = replies


class PlainDialogue(socketserver.StreamRequestHandler):
    server: PlainServer

    def handle(self) -> None:
        self.say("220 hello")
        while line := self.rfile.readline():
            reply = self.server.replies.get(line[:4].decode().strip().lower(), "250 ok")
            self.say(reply)
            if reply.startswith("354"):
                while self.rfile.readline() != b".\r\n":
                    pass
                self.say("250 ok")
            if not reply or line.startswith(b"quit"):
                return

    def say(self, reply: str) -> None:
        self.wfile.write(f"{reply}\r\n".encode() if reply else b"")


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


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mailer(clock: Clock) -> Iterator[Mailer]:
    mailer = Mailer(Settings(), clock=clock)
    yield mailer
    mailer.close()


@pytest.fixture
def answering(mailbox: MailServer, settings: DjangoSettings) -> Iterator[Answering]:
    """Have another mail server: it knows no extension and answers each command as told, "" by hanging up."""
    servers: list[PlainServer] = []

    def start(**replies: str) -> None:
        server = PlainServer(replies)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        configure(settings, port=server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def message(to: str = "ada@example.com", body: str = "Dear Ada", subject: str = "Hello") -> EmailMessage:
    return EmailMessage(subject, body, "Example <noreply@sender.example>", [to])


def send(mailer: Mailer, to: str = "ada@example.com") -> Outcome:
    return mailer.send(message(to), fence=lambda: True)


def failure(outcome: Outcome) -> tuple[Kind, str, int | None]:
    assert outcome.failure is not None
    return outcome.kind, outcome.failure.phase, outcome.failure.smtp_code


def test_a_mail_is_sent(mailbox: MailServer, mailer: Mailer) -> None:
    outcome = send(mailer)

    assert outcome == SENT
    [mail] = mailbox.messages
    assert (mail.sender, mail.recipient) == ("noreply@sender.example", "ada@example.com")
    assert mail.message["Subject"] == "Hello"


@pytest.mark.parametrize(
    ("phase", "reply", "kind"),
    [
        ("connect", "421 busy", Kind.OUTAGE),
        ("connect", "554 not you", Kind.OUTAGE),
        ("connect", "drop", Kind.OUTAGE),
        ("ehlo", "550 who?", Kind.OUTAGE),
        ("ehlo", "drop", Kind.OUTAGE),
        ("mail", "421 closing", Kind.OUTAGE),
        ("mail", "530 authenticate first", Kind.OUTAGE),
        ("mail", "535 no", Kind.OUTAGE),
        ("mail", "drop", Kind.OUTAGE),
        ("mail", "451 later", Kind.TRANSIENT),
        ("mail", "552 too large", Kind.PERMANENT),
        ("rcpt", "450 greylisted", Kind.TRANSIENT),
        ("rcpt", "421 too many", Kind.SLOWED),
        ("rcpt", "450 4.7.1 not now", Kind.SLOWED),
        ("rcpt", "550 no such mailbox", Kind.PERMANENT),
        ("rcpt", "550 5.7.1 too many mails from you", Kind.SLOWED),
        ("rcpt", "530 authenticate first", Kind.OUTAGE),
        ("rcpt", "drop", Kind.OUTAGE),
        ("data", "451 later", Kind.TRANSIENT),
        ("data", "554 no", Kind.PERMANENT),
        ("data", "drop", Kind.OUTAGE),
        ("body", "451 later", Kind.TRANSIENT),
        ("body", "421 later", Kind.SLOWED),
        ("body", "554 spam", Kind.PERMANENT),
        ("body", "drop", Kind.AMBIGUOUS),
        ("body", "drop-after-accept", Kind.AMBIGUOUS),
    ],
)
def test_an_outcome_follows_from_phase_and_code(
    mailbox: MailServer, mailer: Mailer, phase: str, reply: str, kind: Kind
) -> None:
    mailbox.script(phase, [reply])

    outcome = send(mailer)

    where = "connect" if phase == "ehlo" else phase
    code, _, words = reply.partition(" ")
    assert failure(outcome) == (kind, where, int(code) if words else None)
    assert outcome.failure is not None
    assert words in outcome.failure.smtp_reply
    assert send(mailer) == SENT, "the next mail goes out"


def test_a_failure_names_the_verdict_and_its_rule(mailbox: MailServer, mailer: Mailer) -> None:
    mailbox.replies = ["552 5.2.2 mailbox full", "550 5.1.1 no such user"]

    failures = [send(mailer).failure for _ in range(2)]

    assert [failure and (failure.verdict, failure.rule) for failure in failures] == [
        ("dead letter", "mailbox-full"),
        ("bad address", "no-address-said"),
    ]


@pytest.mark.parametrize("reply", ["450 greylisted", "550 no such mailbox"])
def test_a_refused_mail_leaves_the_connection_to_the_next(mailbox: MailServer, mailer: Mailer, reply: str) -> None:
    mailbox.replies = [reply]

    send(mailer, "refused@example.com")
    send(mailer, "ada@example.com")

    assert [mail.recipient for mail in mailbox.messages] == ["ada@example.com"]
    assert mailbox.connections == 1


def test_no_server_is_an_outage(mailbox: MailServer, mailer: Mailer) -> None:
    mailbox.stop()

    outcome = send(mailer)

    assert failure(outcome) == (Kind.OUTAGE, "connect", None)


def test_a_refused_login_is_an_outage(mailbox: MailServer, mailer: Mailer, settings: DjangoSettings) -> None:
    configure(settings, username="shop", password="wrong")
    mailbox.script("auth", ["535 5.7.8 bad credentials"])

    outcome = send(mailer)

    assert failure(outcome) == (Kind.OUTAGE, "connect", 535)


def test_a_server_without_tls_is_an_outage_where_tls_is_wanted(
    mailbox: MailServer, mailer: Mailer, settings: DjangoSettings
) -> None:
    configure(settings, use_tls=True)

    outcome = send(mailer)

    assert failure(outcome) == (Kind.OUTAGE, "connect", None)
    assert mailbox.messages == []


def test_a_connection_is_kept_between_mails(mailbox: MailServer, mailer: Mailer) -> None:
    outcomes = [send(mailer) for _ in range(3)]

    assert outcomes == [SENT] * 3
    assert mailbox.connections == 1


def test_a_connection_is_recycled_after_a_number_of_mails(mailbox: MailServer, mailer: Mailer) -> None:
    outcomes = {send(mailer) for _ in range(RECYCLE_AFTER + 1)}

    assert outcomes == {SENT}
    assert mailbox.connections == 2
    assert [mail.connection for mail in mailbox.messages[-2:]] == [1, 2]


def test_a_connection_is_recycled_at_an_age(mailbox: MailServer, mailer: Mailer, clock: Clock) -> None:
    send(mailer)
    clock.now += RECYCLE_SECONDS + 1

    send(mailer)

    assert mailbox.connections == 2


@pytest.mark.parametrize("idle", [0.0, CHECK_AFTER])
def test_a_connection_that_died_while_idle_is_replaced_unnoticed(
    mailbox: MailServer, mailer: Mailer, clock: Clock, idle: float
) -> None:
    fence = Mock(return_value=True)
    send(mailer)
    mailbox.stop()
    mailbox.start()
    clock.now += idle

    outcome = mailer.send(message(), fence=fence)

    assert outcome == SENT
    assert fence.call_count == 1
    assert mailbox.connections == 2


@pytest.mark.parametrize("noop", ["421 idle for too long", ""])
def test_a_server_that_says_goodbye_to_an_idle_connection_gets_a_new_one(
    answering: Answering, mailer: Mailer, clock: Clock, noop: str
) -> None:
    answering(data="354 go on", noop=noop)
    send(mailer)
    clock.now += CHECK_AFTER

    outcome = send(mailer)

    assert outcome == SENT


def test_an_idle_connection_that_lives_is_used_again(mailbox: MailServer, mailer: Mailer, clock: Clock) -> None:
    send(mailer)
    clock.now += CHECK_AFTER

    send(mailer)

    assert mailbox.connections == 1


def test_a_closing_server_is_noticed_at_mail_and_the_mail_goes_out_on_a_new_connection(
    mailbox: MailServer, mailer: Mailer
) -> None:
    send(mailer)
    mailbox.script("mail", ["421 idle for too long"])

    outcome = send(mailer)

    assert outcome == SENT
    assert mailbox.connections == 2


def test_without_extensions_a_mail_is_sent_too(answering: Answering, mailer: Mailer) -> None:
    answering(ehlo="500 what?", data="354 go on")

    outcome = send(mailer)

    assert outcome == SENT


def test_a_reply_that_makes_no_sense_breaks_the_connection(answering: Answering, mailer: Mailer) -> None:
    answering(rcpt="hello?")

    outcome = send(mailer)

    assert failure(outcome) == (Kind.OUTAGE, "rcpt", None)


def test_a_connection_that_is_lost_after_a_refusal_does_not_change_it(answering: Answering, mailer: Mailer) -> None:
    answering(rcpt="550 no such mailbox", rset="")

    outcomes = [send(mailer), send(mailer)]

    assert [failure(outcome) for outcome in outcomes] == [(Kind.PERMANENT, "rcpt", 550)] * 2


@pytest.mark.parametrize(
    ("phase", "kind"),
    [("mail", Kind.OUTAGE), ("rcpt", Kind.TRANSIENT), ("data", Kind.TRANSIENT), ("body", Kind.AMBIGUOUS)],
)
def test_a_server_that_stalls_is_given_up(
    mailbox: MailServer, settings: DjangoSettings, phase: str, kind: Kind
) -> None:
    configure(settings, timeout=0.2)
    mailbox.script(phase, ["stall 30"])
    mailer = Mailer(Settings())
    began = time.monotonic()

    outcome = send(mailer)

    assert failure(outcome) == (kind, phase, None)
    assert time.monotonic() - began < 2
    mailer.close()


def test_where_django_would_wait_for_ever_our_time_out_holds(mailbox: MailServer, settings: DjangoSettings) -> None:
    configure(settings, timeout=None)
    mailbox.script("rcpt", ["stall 30"])
    mailer = Mailer(Settings(send_timeout=0.2))

    outcome = send(mailer)

    assert failure(outcome) == (Kind.TRANSIENT, "rcpt", None)
    mailer.close()


def test_another_thread_breaks_the_connection(mailbox: MailServer, mailer: Mailer) -> None:
    mailbox.script("rcpt", ["stall 30"])

    with ThreadPoolExecutor() as threads:
        sending = threads.submit(send, mailer)
        eventually(lambda: mailbox.attempts)
        mailer.abort()
        outcome = sending.result(5)

    assert failure(outcome) == (Kind.OUTAGE, "rcpt", None)
    assert send(mailer) == SENT


def test_breaking_no_connection_or_a_broken_one_does_nothing(mailbox: MailServer, mailer: Mailer) -> None:
    mailer.abort()
    send(mailer)
    mailbox.stop()
    mailbox.start()
    mailer.abort()
    mailer.abort()

    outcome = send(mailer)

    assert outcome == SENT


def test_a_lost_lease_sends_nothing_and_leaves_the_connection_good(mailbox: MailServer, mailer: Mailer) -> None:
    outcome = mailer.send(message("lost@example.com"), fence=lambda: False)
    send(mailer, "ada@example.com")

    assert outcome == LOST
    assert [mail.recipient for mail in mailbox.messages] == ["ada@example.com"]
    assert mailbox.connections == 1


@pytest.mark.parametrize("error", [FenceUnanswered("Redis did not answer"), KeyboardInterrupt()])
def test_what_the_fence_raises_passes_through_and_leaves_the_connection_good(
    mailbox: MailServer, mailer: Mailer, error: BaseException
) -> None:
    def fence() -> bool:
        raise error

    with pytest.raises(type(error)):
        mailer.send(message("unknown@example.com"), fence=fence)

    send(mailer, "ada@example.com")
    assert [mail.recipient for mail in mailbox.messages] == ["ada@example.com"]
    assert mailbox.connections == 1


def test_a_mail_that_cannot_be_written_leaves_the_connection_good(mailbox: MailServer, mailer: Mailer) -> None:
    send(mailer)

    with pytest.raises(ValueError, match=r"newline|linefeed|Header"):
        mailer.send(message(subject="forged\nBcc: eve@example.com"), fence=lambda: True)

    send(mailer)
    assert mailbox.connections == 1


def test_an_international_domain_goes_out_in_ascii(mailbox: MailServer, mailer: Mailer) -> None:
    outcome = send(mailer, "ada@exämple.com")

    assert outcome == SENT
    assert [mail.recipient for mail in mailbox.messages] == ["ada@xn--exmple-cua.com"]


def test_a_sender_without_a_domain_is_named_as_it_is(mailbox: MailServer, mailer: Mailer) -> None:
    outcome = mailer.send(EmailMessage("Hello", "Dear Ada", "root", ["ada@example.com"]), fence=lambda: True)

    assert outcome == SENT
    assert [mail.sender for mail in mailbox.messages] == ["root"]


@examples(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.sampled_from(["", ".", "..", ".a", "a", " .", "Grüße.", "." * 999]), max_size=6))
def test_lines_that_begin_with_dots_arrive_as_they_were_written(
    mailbox: MailServer, mailer: Mailer, lines: list[str]
) -> None:
    body = "\n".join(lines)

    outcome = mailer.send(message(body=body), fence=lambda: True)

    assert outcome == SENT
    received = mailbox.messages[-1].message.get_content()
    assert received.rstrip("\n") == body.rstrip("\n")


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
        ("refused", (Kind.PERMANENT, "body", 554)),
        ("later", (Kind.TRANSIENT, "body", 451)),
        ("broken", (Kind.TRANSIENT, "", None)),
    ],
)
def test_what_another_backend_raises_becomes_an_outcome(
    settings: DjangoSettings, subject: str, expected: tuple[Kind, str, int | None]
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
        ("rcpt", "550 no such mailbox", (Kind.PERMANENT, "rcpt", 550)),
        ("body", "drop", (Kind.AMBIGUOUS, "", None)),
    ],
)
def test_what_fails_in_a_subclass_is_judged_and_the_next_mail_has_a_good_connection(
    mailbox: MailServer, settings: DjangoSettings, phase: str, reply: str, expected: tuple[Kind, str, int | None]
) -> None:
    mailbox.script(phase, [reply])
    redirecting = Mailer(through_our(RedirectingBackend, settings))

    failed, sent = send(redirecting), send(redirecting)
    redirecting.close()

    assert failure(failed) == expected
    assert sent == SENT
