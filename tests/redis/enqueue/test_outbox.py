"""Rows of the outbox between the database and Redis, where every job has one."""

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
from emailqueue.events import publish
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.store import OFFERED, PIECE, Store
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.outbox import VOTE, age, is_ambiguous, queue_vote, remember_from, rows, waiting

Overlay = Callable[..., None]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


class Rollback(Exception):
    """Ends a transaction."""


@pytest.fixture
def always(queue_settings: Overlay) -> None:
    queue_settings(OUTBOX="always")


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
