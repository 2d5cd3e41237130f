"""The scripted mail server, spoken to with the standard library's SMTP client."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

import pytest

from emailqueue.testing import MailServer


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


def mail_to(recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = recipient
    message["Subject"] = "Grüße"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Dear Ada\n.\nthe dot above is not the end")
    return message


def send(server: MailServer, recipient: str = "ada@example.com", *, timeout: float = 5.0) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=timeout) as client:
        client.send_message(mail_to(recipient))


def code_for(server: MailServer, recipient: str) -> int:
    try:
        send(server, recipient)
    except smtplib.SMTPRecipientsRefused as error:
        code, _ = error.recipients[recipient]
        return code
    return 250


def test_a_mail_arrives_as_it_was_sent(server: MailServer) -> None:
    before = time.time()

    send(server)

    [mail] = server.messages
    assert (mail.sender, mail.recipient) == ("shop@example.com", "ada@example.com")
    assert mail.message_id == "<1@example.com>"
    assert mail.message["Subject"] == "Grüße"
    assert mail.message.get_content() == "Dear Ada\n.\nthe dot above is not the end\n"
    assert before <= mail.received_at <= time.time()


def test_a_message_id_in_the_body_or_on_a_line_of_its_own_is_told_apart(server: MailServer) -> None:
    folded = b"Subject: x\r\nMessage-Id:\r\n <2@example.com>\r\n\r\nMessage-ID: <3@example.com>\r\n"
    without = b"Subject: x\r\n\r\nMessage-ID: <3@example.com>\r\n"

    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.sendmail("shop@example.com", ["ada@example.com"], folded)
        client.sendmail("shop@example.com", ["ada@example.com"], without)

    assert [mail.message_id for mail in server.messages] == ["<2@example.com>", ""]


def test_replies_are_given_one_an_attempt_and_then_all_is_accepted(server: MailServer) -> None:
    server.replies = ["451 4.3.0 later", "550 5.1.1 no such mailbox"]

    with pytest.raises(smtplib.SMTPRecipientsRefused) as first:
        send(server)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as second:
        send(server)
    send(server)

    assert first.value.recipients == {"ada@example.com": (451, b"4.3.0 later")}
    assert second.value.recipients == {"ada@example.com": (550, b"5.1.1 no such mailbox")}
    assert len(server.messages) == 1
    assert [recipient for _, recipient in server.attempts] == ["ada@example.com"] * 3


def test_a_rule_answers_for_its_recipients_before_the_replies_do(server: MailServer) -> None:
    server.rules = [
        ("*@soft.example", ["450 4.2.0 busy", "250 2.1.5 OK"]),
        (lambda recipient: recipient.startswith("gone"), ["550 5.1.1 gone"]),
    ]
    server.replies = ["452 4.2.2 full"]

    recipients = ["a@soft.example", "b@soft.example", "a@soft.example", "a@soft.example", "gone@x.example"]
    codes = [code_for(server, recipient) for recipient in [*recipients, "gone@x.example"]]

    assert codes == [450, 450, 250, 250, 550, 550]
    assert server.replies == ["452 4.2.2 full"]


@pytest.mark.parametrize(
    ("phase", "reply", "error"),
    [
        ("connect", "554 5.3.2 no service", smtplib.SMTPConnectError),
        ("connect", "421 4.3.2 shutting down", smtplib.SMTPConnectError),
        ("connect", "drop", smtplib.SMTPServerDisconnected),
        ("ehlo", "550 5.7.1 go away", smtplib.SMTPHeloError),
        ("ehlo", "drop", smtplib.SMTPServerDisconnected),
        ("mail", "530 5.7.0 log in first", smtplib.SMTPSenderRefused),
        ("mail", "421 4.3.2 shutting down", smtplib.SMTPSenderRefused),
        ("mail", "drop", smtplib.SMTPServerDisconnected),
        ("rcpt", "452 4.2.2 full", smtplib.SMTPRecipientsRefused),
        ("rcpt", "drop", smtplib.SMTPServerDisconnected),
        ("data", "451 4.3.0 later", smtplib.SMTPDataError),
        ("data", "drop", smtplib.SMTPServerDisconnected),
        ("body", "554 5.6.0 spam", smtplib.SMTPDataError),
        ("body", "421 4.3.2 shutting down", smtplib.SMTPDataError),
        ("body", "drop", smtplib.SMTPServerDisconnected),
    ],
)
def test_each_phase_can_be_refused_or_dropped(
    server: MailServer, phase: str, reply: str, error: type[Exception]
) -> None:
    server.script(phase, [reply])

    with pytest.raises(error):
        send(server)
    assert server.messages == []

    send(server)
    assert len(server.messages) == 1


def test_a_421_closes_the_connection(server: MailServer) -> None:
    server.replies = ["421 4.3.2 shutting down"]
    client = smtplib.SMTP("127.0.0.1", server.port, timeout=5)
    client.ehlo()
    client.mail("shop@example.com")

    assert client.rcpt("ada@example.com")[0] == 421

    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()


def test_a_refused_login_is_refused_in_every_way_that_the_client_tries(server: MailServer) -> None:
    server.script("auth", ["535 5.7.8 wrong password"])

    with smtplib.SMTP("127.0.0.1", server.port) as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("shop", "wrong")
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        code, _ = client.login("shop", "right")

    assert code == 235


def test_drop_after_accept_keeps_the_mail_and_leaves_the_client_without_an_answer(server: MailServer) -> None:
    server.script("body", ["drop-after-accept"])

    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(server)

    assert len(server.messages) == 1


def test_a_client_that_gives_up_on_a_stall_has_delivered_all_the_same(server: MailServer) -> None:
    server.script("body", ["stall 5"])

    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        send(server, timeout=0.2)

    assert len(server.messages) == 1


def test_a_stall_and_the_delay_are_waits_before_an_ordinary_answer(server: MailServer) -> None:
    server.script("mail", ["stall 0.2"])
    server.delay = 0.2
    began = time.monotonic()

    send(server)

    assert 0.4 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("phase", "reply"),
    [("rcpt", "later"), ("rcpt", "drop-after-accept"), ("body", "stall"), ("bdat", "250 ok")],
)
def test_a_reply_that_the_server_cannot_give_is_refused_when_it_is_set(
    server: MailServer, phase: str, reply: str
) -> None:
    with pytest.raises(ValueError, match=r"Use "):
        server.script(phase, [reply])


def test_stopping_is_an_outage_that_also_ends_open_connections(server: MailServer) -> None:
    client = smtplib.SMTP("127.0.0.1", server.port, timeout=5)
    client.ehlo()
    port = server.port

    server.stop()

    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        client.noop()
    with pytest.raises(ConnectionRefusedError):
        send(server)
    server.start()
    send(server)
    assert server.port == port
    assert (len(server.messages), server.connections) == (1, 2)


def test_mails_of_one_connection_share_its_number(server: MailServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.send_message(mail_to("ada@example.com"))
        client.send_message(mail_to("bob@example.com"))
    send(server)

    assert [mail.connection for mail in server.messages] == [1, 1, 2]
    assert server.connections == 2


def test_wait_for_returns_when_the_mails_are_there_and_says_how_many_came(server: MailServer) -> None:
    send(server)

    assert len(server.wait_for(1)) == 1
    with pytest.raises(TimeoutError, match=r"1 of 2 mails came within 0.05 seconds"):
        server.wait_for(2, timeout=0.05)


def test_mails_are_written_to_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "mailbox"

    with MailServer(folder=folder) as server:
        send(server, "ada@example.com")
        send(server, "../../ada@example.com")

    files = sorted(folder.iterdir())
    assert len(files) == 2
    assert files[0].name == "00001 ada@example.com.eml"
    assert message_from_bytes(files[0].read_bytes())["Message-ID"] == "<1@example.com>"
    assert [path.name for path in tmp_path.iterdir()] == ["mailbox"]


def test_starting_or_stopping_twice_does_no_harm() -> None:
    server = MailServer()
    for _ in range(2):
        server.start()
    send(server)
    for _ in range(2):
        server.stop()

    assert len(server.messages) == 1


def test_a_port_that_is_taken_is_an_error(server: MailServer) -> None:
    with pytest.raises(OSError, match="in use"):
        MailServer(port=server.port).start()
