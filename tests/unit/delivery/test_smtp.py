"""How one mail is handed to a mail server, and what its replies mean."""

from __future__ import annotations

import pytest
from django.core.mail import EmailMessage
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from emailqueue.delivery.smtp import Mailer
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import LOST, SENT
from emailqueue.testing import MailServer
from emailqueue.worker.fence import FenceUnanswered
from tests.support.mailer import configure, failure, message, send


def test_a_mail_is_sent(mailbox: MailServer, mailer: Mailer) -> None:
    outcome = send(mailer)

    assert outcome == SENT
    [mail] = mailbox.messages
    assert (mail.sender, mail.recipient) == ("noreply@sender.example", "ada@example.com")
    assert mail.message["Subject"] == "Hello"


@pytest.mark.parametrize(
    ("phase", "reply", "end"),
    [
        ("connect", "421 busy", End.WAIT),
        ("connect", "554 not you", End.WAIT),
        ("connect", "drop", End.WAIT),
        ("ehlo", "550 who?", End.WAIT),
        ("ehlo", "drop", End.WAIT),
        ("mail", "421 closing", End.WAIT),
        ("mail", "530 authenticate first", End.WAIT),
        ("mail", "535 no", End.WAIT),
        ("mail", "drop", End.WAIT),
        ("mail", "451 later", End.RETRY),
        ("mail", "552 too large", End.PERMANENT),
        ("rcpt", "450 greylisted", End.RETRY),
        ("rcpt", "421 too many", End.THROTTLE),
        ("rcpt", "450 4.7.1 not now", End.THROTTLE),
        ("rcpt", "550 no such mailbox", End.BAD_ADDRESS),
        ("rcpt", "550 5.7.1 too many mails from you", End.THROTTLE),
        ("rcpt", "530 authenticate first", End.WAIT),
        ("rcpt", "drop", End.WAIT),
        ("data", "451 later", End.RETRY),
        ("data", "554 no", End.PERMANENT),
        ("data", "drop", End.WAIT),
        ("body", "451 later", End.RETRY),
        ("body", "421 later", End.THROTTLE),
        ("body", "554 spam", End.PERMANENT),
        ("body", "drop", End.AMBIGUOUS),
        ("body", "drop-after-accept", End.AMBIGUOUS),
    ],
)
def test_an_outcome_follows_from_phase_and_code(
    mailbox: MailServer, mailer: Mailer, phase: str, reply: str, end: End
) -> None:
    mailbox.script(phase, [reply])

    outcome = send(mailer)

    where = "connect" if phase == "ehlo" else phase
    code, _, words = reply.partition(" ")
    assert failure(outcome) == (end, where, int(code) if words else None)
    assert outcome.failure is not None
    assert words in outcome.failure.smtp_reply
    assert send(mailer) == SENT, "the next mail goes out"


def test_a_failure_names_the_verdict_and_its_rule(mailbox: MailServer, mailer: Mailer) -> None:
    mailbox.replies = ["552 5.2.2 mailbox full", "550 5.1.1 no such user"]

    outcomes = [send(mailer) for _ in range(2)]

    assert [(outcome.end, outcome.failure and outcome.failure.rule) for outcome in outcomes] == [
        (End.PERMANENT, "mailbox-full"),
        (End.BAD_ADDRESS, "no-address-said"),
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

    assert failure(outcome) == (End.WAIT, "connect", None)


def test_a_refused_login_is_an_outage(mailbox: MailServer, mailer: Mailer, settings: DjangoSettings) -> None:
    configure(settings, username="shop", password="wrong")
    mailbox.script("auth", ["535 5.7.8 bad credentials"])

    outcome = send(mailer)

    assert failure(outcome) == (End.WAIT, "connect", 535)


def test_a_server_without_tls_is_an_outage_where_tls_is_wanted(
    mailbox: MailServer, mailer: Mailer, settings: DjangoSettings
) -> None:
    configure(settings, use_tls=True)

    outcome = send(mailer)

    assert failure(outcome) == (End.WAIT, "connect", None)
    assert mailbox.messages == []


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


def test_a_message_to_several_is_refused_before_the_server_hears_of_it(mailbox: MailServer, mailer: Mailer) -> None:
    several = EmailMessage("Hello", "Dear all", to=["ada@example.com", "bob@example.com"])

    with pytest.raises(ValueError, match="this one has 2"):
        mailer.send(several, fence=lambda: True)

    assert mailbox.messages == []
