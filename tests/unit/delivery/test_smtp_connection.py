"""How long a connection is kept, and what becomes of one that breaks."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest
from pytest_django import Settings as DjangoSettings

from emailqueue.conf import Settings
from emailqueue.delivery.smtp import CHECK_AFTER, RECYCLE_AFTER, RECYCLE_SECONDS, Mailer
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import SENT
from emailqueue.testing import MailServer
from tests.conftest import eventually
from tests.support.mailer import Clock, configure, failure, message, send

Answering = Callable[..., None]


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

    assert failure(outcome) == (End.WAIT, "rcpt", None)


def test_a_connection_that_is_lost_after_a_refusal_does_not_change_it(answering: Answering, mailer: Mailer) -> None:
    answering(rcpt="550 no such mailbox", rset="")

    outcomes = [send(mailer), send(mailer)]

    assert [failure(outcome) for outcome in outcomes] == [(End.BAD_ADDRESS, "rcpt", 550)] * 2


@pytest.mark.parametrize(
    ("phase", "end"),
    [("mail", End.WAIT), ("rcpt", End.RETRY), ("data", End.RETRY), ("body", End.AMBIGUOUS)],
)
def test_a_server_that_stalls_is_given_up(mailbox: MailServer, settings: DjangoSettings, phase: str, end: End) -> None:
    configure(settings, timeout=0.2)
    mailbox.script(phase, ["stall 30"])
    mailer = Mailer(Settings())
    began = time.monotonic()

    outcome = send(mailer)

    assert failure(outcome) == (end, phase, None)
    assert time.monotonic() - began < 2
    mailer.close()


def test_where_django_would_wait_for_ever_our_time_out_holds(mailbox: MailServer, settings: DjangoSettings) -> None:
    configure(settings, timeout=None)
    mailbox.script("rcpt", ["stall 30"])
    mailer = Mailer(Settings(send_timeout=0.2))

    outcome = send(mailer)

    assert failure(outcome) == (End.RETRY, "rcpt", None)
    mailer.close()


def test_another_thread_breaks_the_connection(mailbox: MailServer, mailer: Mailer) -> None:
    mailbox.script("rcpt", ["stall 30"])

    with ThreadPoolExecutor() as threads:
        sending = threads.submit(send, mailer)
        eventually(lambda: mailbox.attempts)
        mailer.abort()
        outcome = sending.result(5)

    assert failure(outcome) == (End.WAIT, "rcpt", None)
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
