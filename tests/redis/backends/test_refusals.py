"""Which of Django's messages are refused at the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage, send_mail
from redis import Redis

from emailqueue.backends import QueuedEmailBackend
from emailqueue.errors import InvalidMessage
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.django_mail import OFFICE, waiting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "Subject\nBcc: all@example.com"},
        {"to": ["ada@example.com\nBcc: all@example.com"]},
        {"from_email": "office@sender.example\r\nBcc: all@example.com"},
        {"headers": {"X-One": "1\nBcc: all@example.com"}},
        {"reply_to": ["a@example.com\nBcc: all@example.com"]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_forged_header_is_refused_at_the_call(queued: MailServer, valkey: Redis, fields: dict[str, Any]) -> None:
    message = EmailMessage(**{"subject": "Subject", "to": ["ada@example.com"], **fields})

    with pytest.raises(ValueError, match=r"(?i)newline|linefeed|carriage|header|address|control"):
        message.send()

    assert waiting(valkey, "normal") == 0


@pytest.mark.parametrize(
    "address", ["a@x.example, b@x.example", "ädä@example.com", "a b", "<>", "a@" + "x" * 70 + ".example"]
)
def test_an_address_that_no_server_can_be_told_is_refused_at_the_call(
    queued: MailServer, valkey: Redis, address: str
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - Django's own or InvalidAddress, by version
        send_mail("Subject", "Body", OFFICE, [address])

    assert waiting(valkey, "normal") == 0


def test_local_mailboxes_and_foreign_domains_are_addresses(queued: MailServer, work: Work) -> None:
    send_mail("Subject", "Body", OFFICE, ["root@mailhost", "to@éxample.com"])

    work()

    assert sorted(received.recipient for received in queued.messages) == ["root@mailhost", "to@xn--xample-9ua.com"]


def test_one_wrong_message_queues_none_of_the_call(queued: MailServer, valkey: Redis) -> None:
    right = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"])
    wrong = EmailMessage("Sub\nject", "Body", OFFICE, ["ada@example.com"])

    with pytest.raises(ValueError, match=r"(?i)newline|linefeed"):
        QueuedEmailBackend().send_messages([right, wrong])

    assert waiting(valkey, "normal") == 0


def test_a_nul_that_databases_refuse_is_refused_at_the_call_or_carried(
    queued: MailServer, work: Work, queue_settings: Callable[..., None]
) -> None:
    queue_settings(OUTBOX="always")

    send_mail("Subject", "a\0b \\u0000", OFFICE, ["ada@example.com"])
    with pytest.raises((InvalidMessage, ValueError)):
        send_mail("Sub\0ject", "Body", OFFICE, ["ada@example.com"])
    work()

    assert queued.messages[0].message.get_content().strip() == "a\0b \\u0000"


def test_a_message_to_nobody_is_not_queued(queued: MailServer, valkey: Redis) -> None:
    count = QueuedEmailBackend().send_messages([EmailMessage("Subject", "Body", OFFICE)])

    assert count == 0
    assert waiting(valkey, "normal") == 0
