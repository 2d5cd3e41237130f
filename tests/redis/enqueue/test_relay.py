"""Rows of the outbox between the database and Redis, in each mode."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis import Redis

from emailqueue import cancel_email, get_queue_stats, queue_bulk_emails, reschedule_email
from emailqueue.enqueue.relay import MEMORY, SETTLING, YOUNG, relay
from emailqueue.errors import RedisUnavailable
from emailqueue.events import publish
from emailqueue.housekeeping.inbox import push_retries
from emailqueue.models import DeadLetter, OutboxRow, Status
from emailqueue.redis import rq_queues
from emailqueue.store import OFFERED, PIECE, SINCE, Store
from emailqueue.testing import MailServer
from events import queue_vote_confirmation
from tests.conftest import Work, claim_and_vanish

VOTE = {"model_name": "Ada", "profile_url": "https://front.example/models/1"}
Overlay = Callable[..., None]

pytestmark = pytest.mark.django_db(transaction=True)


class Rollback(Exception):
    """Ends a transaction."""


@pytest.fixture
def store(valkey: Redis) -> Store:
    store = Store(valkey)
    remember_from(valkey, 3600)
    return store


@pytest.fixture
def always(queue_settings: Overlay) -> None:
    queue_settings(OUTBOX="always")


@pytest.fixture
def redis_is_away(settings: Any) -> Callable[[], None]:
    def away() -> None:
        settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    return away


def remember_from(valkey: Redis, seconds_ago: float) -> None:
    """Have Redis believe that it has looked at the outbox for so long."""
    seconds, microseconds = valkey.time()
    valkey.set(SINCE, seconds + microseconds / 1e6 - seconds_ago)


def age(seconds: float) -> None:
    """Have all rows written so long ago."""
    OutboxRow.objects.update(created_at=timezone.now() - timedelta(seconds=seconds))


def queue_vote(**options: Any) -> str:
    return queue_vote_confirmation("ada@example.com", VOTE, **options)


def rows() -> list[str]:
    return list(OutboxRow.objects.order_by("pk").values_list("job_id", flat=True))


def waiting(valkey: Redis) -> list[str]:
    ids: Any = valkey.lrange("rq:queue:normal", 0, -1)
    return [job_id.decode() for job_id in ids]


def is_ambiguous(valkey: Redis, job_id: str) -> bool:
    return bool(valkey.hexists(f"rq:job:{job_id}", "ambiguous"))


# Always


@pytest.mark.usefixtures("always")
def test_always_writes_the_row_inside_the_transaction_and_rolls_it_back_with_it(store: Store, valkey: Redis) -> None:
    with suppress(Rollback), transaction.atomic():
        queue_vote()
        inside = rows()
        raise Rollback
    with transaction.atomic():
        job_id = queue_vote()
        before_commit = waiting(valkey)

    assert len(inside) == 1
    assert before_commit == []
    assert rows() == waiting(valkey) == [job_id]


@pytest.mark.usefixtures("always")
def test_always_costs_one_insert_a_call_and_a_few_for_a_thousand_mails(store: Store) -> None:
    with CaptureQueriesContext(connection) as one, transaction.atomic():
        queue_vote()
    with CaptureQueriesContext(connection) as many, transaction.atomic():
        queue_bulk_emails("vote-confirmation", [f"fan-{number}@example.com" for number in range(1000)], VOTE)

    assert sum("INSERT" in query["sql"] for query in one) == 1
    assert sum("INSERT" in query["sql"] for query in many) <= 5  # SQLite takes 1,000 values in one
    assert OutboxRow.objects.count() == 1001


@pytest.mark.usefixtures("always")
def test_a_row_is_deleted_when_its_mail_has_been_sent(store: Store, mailbox: MailServer, work: Work) -> None:
    queue_vote()
    publish("vote.created", {"voter_email": "bo@example.com", "model_name": "Ada", "model_id": 7})

    work()

    assert sorted(mail.recipient for mail in mailbox.messages) == ["ada@example.com", "bo@example.com"]
    assert rows() == []


@pytest.mark.usefixtures("always")
def test_a_row_is_deleted_when_its_mail_has_become_a_dead_letter(store: Store, mailbox: MailServer, work: Work) -> None:
    mailbox.replies = ["550 5.1.1 no such mailbox"]
    job_id = queue_vote()

    work()

    assert DeadLetter.objects.get().job_id == job_id
    assert rows() == []


@pytest.mark.usefixtures("always")
def test_what_a_subscriber_queues_has_rows_before_its_own_row_goes(store: Store, valkey: Redis, work: Work) -> None:
    publish("vote.created", {"voter_email": "bo@example.com", "model_name": "Ada", "model_id": 7})

    work("events")

    assert len(waiting(valkey)) == 1
    assert rows() == waiting(valkey)


@pytest.mark.usefixtures("always")
def test_a_redis_that_has_forgotten_everything_gets_everything_again_marked(store: Store, valkey: Redis) -> None:
    ids = queue_bulk_emails("vote-confirmation", [f"fan-{number}@example.com" for number in range(PIECE + 1)], VOTE)
    age(60)
    relay(store)
    valkey.flushall()

    at_first = relay(store)
    remember_from(valkey, SETTLING.total_seconds() + 1)
    relayed = relay(store)

    assert at_first == 0  # workers may still settle what they had
    assert relayed == len(ids)
    assert waiting(valkey) == rows() == ids
    assert all(is_ambiguous(valkey, job_id) for job_id in ids)
    assert get_queue_stats().main.ambiguous == len(ids)


@pytest.mark.usefixtures("always")
def test_a_row_is_offered_once_and_again_some_minutes_later(store: Store, valkey: Redis) -> None:
    job_id = queue_vote()
    age(60)
    relay(store)
    lives = valkey.ttl(OFFERED)
    valkey.delete("rq:queue:normal", f"rq:job:{job_id}")  # what a row that is offered would bring back

    once = relay(store)
    valkey.delete(OFFERED)  # as its time does
    again = relay(store)

    assert (once, again) == (0, 1)
    assert 0 < lives <= 300


@pytest.mark.usefixtures("always")
def test_a_young_row_is_left_to_the_process_that_wrote_it(store: Store, valkey: Redis) -> None:
    job_id = queue_vote()
    valkey.delete("rq:queue:normal", f"rq:job:{job_id}")  # as if that process were between commit and push
    age(YOUNG.total_seconds() - 5)
    young = relay(store)
    age(YOUNG.total_seconds() + 1)
    old = relay(store)

    assert (young, old) == (0, 1)
    assert waiting(valkey) == [job_id]
    assert not is_ambiguous(valkey, job_id)


@pytest.mark.usefixtures("always")
def test_a_row_that_is_older_than_the_memory_of_ended_jobs_is_marked(store: Store, valkey: Redis) -> None:
    job_id = queue_vote()
    valkey.delete("rq:queue:normal", f"rq:job:{job_id}")
    age(MEMORY.total_seconds() + 1)

    relay(store)

    assert is_ambiguous(valkey, job_id)


@pytest.mark.usefixtures("always")
def test_the_second_call_with_a_key_leaves_no_row(store: Store, mailbox: MailServer, work: Work) -> None:
    queue_vote(idempotency_key="k")
    work()

    queue_vote(idempotency_key="k")

    assert rows() == []
    assert len(mailbox.messages) == 1


@pytest.mark.usefixtures("always")
def test_a_cancelled_mail_has_no_row_that_would_bring_it_back(store: Store, valkey: Redis) -> None:
    job_id = queue_vote(delay=60)
    row = OutboxRow.objects.get()

    cancelled = cancel_email(job_id)
    left = rows()
    row.save(force_insert=True)  # as if the process had died before it deleted the row
    age(60)
    relayed = relay(store)

    assert cancelled
    assert left == rows() == []
    assert relayed == 0


@pytest.mark.usefixtures("always")
def test_a_rescheduled_mail_comes_back_at_its_new_time(store: Store, valkey: Redis) -> None:
    job_id = queue_vote(delay=60)
    tomorrow = timezone.now() + timedelta(days=1)

    reschedule_email(job_id, tomorrow)
    valkey.flushall()
    remember_from(valkey, 60)
    age(120)
    relay(store)

    assert valkey.zscore("rq:scheduled:normal", job_id) == pytest.approx(tomorrow.timestamp())


@pytest.mark.usefixtures("always")
def test_always_asks_redis_no_longer_than_failover_does_when_it_is_away(
    redis_is_away: Callable[[], None], valkey: Redis, settings: Any
) -> None:
    there = settings.RQ_QUEUES
    redis_is_away()
    first, second = queue_vote(), queue_vote()
    kept = rows()
    settings.RQ_QUEUES = there
    age(60)
    remember_from(valkey, 120)

    relayed = relay(Store(valkey))

    assert kept == [first, second]
    assert relayed == 2
    assert waiting(valkey) == [first, second]


# Off


def test_off_raises_when_redis_is_away_and_keeps_nothing(
    queue_settings: Overlay, valkey: Redis, redis_is_away: Callable[[], None]
) -> None:
    queue_settings(OUTBOX="off")
    redis_is_away()

    with pytest.raises(RedisUnavailable):
        queue_vote()

    assert rows() == []


# Failover


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
        "function": "emailqueue.delivery.deliver.deliver",
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


# Dead letters that are retried are their own rows


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
