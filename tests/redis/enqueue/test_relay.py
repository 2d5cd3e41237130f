"""What becomes of a job that Redis did not take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from emailqueue import cancel_email
from emailqueue.enqueue.relay import MEMORY, relay
from emailqueue.errors import RedisUnavailable
from emailqueue.models import OutboxRow
from emailqueue.store import Store
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.outbox import VOTE, age, is_ambiguous, queue_vote, rows, waiting

Overlay = Callable[..., None]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


def test_off_raises_when_redis_is_away_and_keeps_nothing(
    queue_settings: Overlay, valkey: Redis, redis_is_away: Callable[[], None]
) -> None:
    queue_settings(OUTBOX="off")
    redis_is_away()

    with pytest.raises(RedisUnavailable):
        queue_vote()

    assert rows() == []


def test_a_call_that_redis_refused_is_not_marked_however_late_it_is_relayed(
    store: Store, valkey: Redis, redis_is_away: Callable[[], None], settings: Any
) -> None:
    there = settings.RQ_QUEUES
    redis_is_away()
    refused, not_asked = queue_vote(), queue_vote()
    settings.RQ_QUEUES = there
    age(24 * 60 * 60)

    relay(store)

    assert waiting(valkey) == [refused, not_asked]
    assert not is_ambiguous(valkey, refused)
    assert not is_ambiguous(valkey, not_asked)
    assert rows() == []


@pytest.mark.parametrize("ended", ["sent", "cancelled"])
def test_a_row_whose_job_has_ended_is_not_queued_again(
    store: Store, valkey: Redis, mailbox: MailServer, work: Work, ended: str
) -> None:
    job_id = queue_vote()
    [row] = kept_for_a_call_whose_reply_was_lost(job_id, valkey)
    if ended == "sent":
        work()
    else:
        cancel_email(job_id)
    valkey.delete(f"rq:job:{job_id}")  # as time does
    row.save(force_insert=True)

    relayed = relay(store)

    assert relayed == 0
    assert waiting(valkey) == rows() == []
    assert len(mailbox.messages) == (ended == "sent")


def kept_for_a_call_whose_reply_was_lost(job_id: str, valkey: Redis) -> list[OutboxRow]:
    data: Any = valkey.hget(f"rq:job:{job_id}", "data")
    assert data
    job = {
        "id": job_id,
        "queue": "normal",
        "function": "emailqueue.deliver",
        "arguments": {"email_type": "vote-confirmation", "to": "ada@example.com", "context": VOTE},
        "attempts": 3,
        "backoff": {},
        "label": "vote-confirmation",
    }
    return [OutboxRow(job_id=job_id, job=job)]


def test_a_call_whose_reply_was_lost_is_marked_when_it_is_relayed_too_late_to_know(store: Store, valkey: Redis) -> None:
    job_id = queue_vote()
    [row] = kept_for_a_call_whose_reply_was_lost(job_id, valkey)
    valkey.delete("rq:queue:normal", f"rq:job:{job_id}")
    row.save(force_insert=True)
    age(MEMORY.total_seconds() + 1)

    relay(store)

    assert is_ambiguous(valkey, job_id)
