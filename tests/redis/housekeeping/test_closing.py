"""What closes a dead letter that was retried."""

from __future__ import annotations

import pytest
from redis import Redis

from emailqueue.housekeeping.inbox import close_redelivered, move_inbox
from emailqueue.models import DeadLetter, Status
from emailqueue.store import REDELIVERED
from emailqueue.testing.mailserver import MailServer
from tests.conftest import Work
from tests.support.deaths import DEATH, die, letter_of

pytestmark = pytest.mark.postgresql


@pytest.mark.django_db(transaction=True)
def test_a_retry_that_dies_again_closes_the_older_letter(valkey: Redis) -> None:
    letter = letter_of(valkey)
    letter.retry()
    die(valkey, "e" * 32, dead_letter=DEATH)

    move_inbox(valkey)

    letter.refresh_from_db()
    assert letter.status == Status.FAILED_AGAIN
    assert letter.closed_at is not None
    again = DeadLetter.objects.open().get()
    assert (again.pk, again.job_id, again.redrives) == ("e" * 32, "a" * 32, DEATH)


@pytest.mark.django_db(transaction=True)
def test_a_retry_that_was_sent_closes_the_letter_and_only_that(valkey: Redis) -> None:
    letter = letter_of(valkey)
    letter.retry()
    die(valkey, "e" * 32)
    move_inbox(valkey)
    valkey.rpush(REDELIVERED, DEATH, "e" * 32, "f" * 32)

    counts = [close_redelivered(valkey), close_redelivered(valkey)]

    letter.refresh_from_db()
    assert counts == [1, 0]
    assert letter.status == Status.SENT
    assert DeadLetter.objects.open().get().pk == "e" * 32
    assert valkey.llen(REDELIVERED) == 0


def test_a_retried_mail_that_arrives_closes_its_letter(valkey: Redis, mailbox: MailServer, work: Work) -> None:
    letter = letter_of(valkey)
    letter.retry()

    work()

    letter.refresh_from_db()
    assert letter.status == Status.SENT
    assert [(mail.recipient, mail.message_id) for mail in mailbox.messages] == [
        ("ada@example.com", f"<{'a' * 32}@sender.example>")
    ]
