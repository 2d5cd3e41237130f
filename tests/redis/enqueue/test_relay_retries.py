"""Dead letters that are retried are their own rows of the outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from redis import Redis

from emailqueue import cancel_email
from emailqueue.housekeeping.inbox import push_retries
from emailqueue.models import DeadLetter, Status
from emailqueue.store import Store
from emailqueue.testing import MailServer
from tests.conftest import Work, claim_and_vanish
from tests.support.outbox import is_ambiguous, queue_vote, remember_from, rows, waiting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


def dead_letter(mailbox: MailServer, work: Work) -> DeadLetter:
    mailbox.replies = ["550 5.1.1 no such mailbox"]
    queue_vote()
    work()
    return DeadLetter.objects.get()


@pytest.mark.parametrize("edits", [{}, {"to": "bo@example.com"}], ids=["as it is", "edited"])
def test_a_retry_that_redis_has_forgotten_is_made_again(
    store: Store, valkey: Redis, mailbox: MailServer, work: Work, edits: dict[str, str]
) -> None:
    letter = dead_letter(mailbox, work)
    job_id = letter.retry(**edits)
    valkey.flushall()
    remember_from(valkey, 1)
    DeadLetter.objects.update(retried_at=timezone.now() - timedelta(minutes=1))

    pushed = [push_retries(store), push_retries(store)]
    marked = is_ambiguous(valkey, job_id)
    work()

    assert pushed == [1, 0]
    assert marked
    assert [mail.recipient for mail in mailbox.messages] == [edits.get("to", "ada@example.com")]
    assert DeadLetter.objects.get().status == Status.SENT


def test_a_retry_while_redis_is_away_is_made_when_it_is_back(
    store: Store, mailbox: MailServer, work: Work, redis_is_away: Callable[[], None], settings: Any
) -> None:
    letter = dead_letter(mailbox, work)
    there = settings.RQ_QUEUES
    redis_is_away()
    letter.retry()
    settings.RQ_QUEUES = there
    DeadLetter.objects.update(retried_at=timezone.now() - timedelta(minutes=1))

    pushed = push_retries(store)

    assert pushed == 1
    assert rows() == []
    assert not is_ambiguous(store.connection, letter.job_id)


def test_a_letter_whose_retry_is_cancelled_is_open_again(store: Store, mailbox: MailServer, work: Work) -> None:
    letter = dead_letter(mailbox, work)
    job_id = letter.retry(to="bo@example.com")

    cancelled = cancel_email(job_id)

    letter.refresh_from_db()
    assert cancelled
    assert (letter.status, letter.retried_job_id, letter.edits) == (Status.OPEN, "", {})


def test_a_retry_that_is_claimed_is_not_pushed(store: Store, valkey: Redis, mailbox: MailServer, work: Work) -> None:
    letter = dead_letter(mailbox, work)
    letter.retry()
    claim_and_vanish(valkey, lease=60)
    DeadLetter.objects.update(retried_at=timezone.now() - timedelta(minutes=1))

    pushed = push_retries(store)

    assert pushed == 0
    assert waiting(valkey) == []
