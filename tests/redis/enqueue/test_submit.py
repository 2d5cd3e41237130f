from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoDbBlocker
from redis import Redis

from emailqueue import cancel_email, queue_bulk_emails, queue_email, schedule_email
from emailqueue.enqueue.relay import relay
from emailqueue.enqueue.submit import AVOID, absence
from emailqueue.models import OutboxRow
from emailqueue.redis import rq_queues
from emailqueue.store import PIECE, Store

pytestmark = [pytest.mark.postgresql, pytest.mark.oldest]

VOTE = {"model_name": "Ada", "profile_url": "https://front.example/models/1"}


class Rollback(Exception):
    """Ends a transaction."""


@pytest.fixture
def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def hung_port() -> Iterator[int]:
    """The port of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def other(django_db_blocker: DjangoDbBlocker, tmp_path: Path) -> Iterator[str]:
    """The alias of a second database."""
    options = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "other.sqlite3"), "OPTIONS": {}}
    connections.databases["other"] = {**connections.databases["default"], **options}
    with django_db_blocker.unblock():
        yield "other"
    connections["other"].close()
    del connections["other"], connections.databases["other"]


def redis_at(port: int) -> override_settings:
    return override_settings(RQ_QUEUES=rq_queues(f"redis://127.0.0.1:{port}"))


def queue_vote(to: str = "ada@example.com", *, using: str | None = None, delay: float | None = None) -> str:
    return queue_email("vote-confirmation", to, VOTE, using=using, delay=delay)


def waiting(valkey: Redis) -> list[str]:
    return [job_id.decode() for job_id in cast(list[bytes], valkey.lrange("rq:queue:normal", 0, -1))]


def rows() -> list[str]:
    return [row.job_id for row in OutboxRow.objects.order_by("id")]


def test_without_a_transaction_a_mail_is_queued_at_once_and_no_database_is_touched(valkey: Redis) -> None:
    job_id = queue_vote()

    assert waiting(valkey) == [job_id]


@pytest.mark.django_db(transaction=True)
def test_a_mail_waits_for_the_commit(valkey: Redis) -> None:
    with transaction.atomic():
        job_id = queue_vote()
        before = waiting(valkey)

    assert before == []
    assert waiting(valkey) == [job_id]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_queued_after_a_rollback(valkey: Redis) -> None:
    with suppress(Rollback), transaction.atomic():
        queue_vote()
        queue_bulk_emails("vote-confirmation", ["ada@example.com"], VOTE, idempotency_key="k")
        raise Rollback

    assert valkey.keys() == []
    assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_an_idempotency_key_is_free_again_after_a_rollback(valkey: Redis) -> None:
    def queue() -> list[str]:
        return queue_bulk_emails("vote-confirmation", ["ada@example.com"], VOTE, idempotency_key="k")

    with suppress(Rollback), transaction.atomic():
        queue()
        raise Rollback
    again = queue()

    assert waiting(valkey) == again


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_takes_only_its_own_mails_with_it(valkey: Redis) -> None:
    with transaction.atomic():
        kept = queue_vote()
        with suppress(Rollback), transaction.atomic():
            queue_vote("lost@example.com")
            raise Rollback
        with transaction.atomic():
            also_kept = queue_vote()
        before = waiting(valkey)

    assert before == []
    assert waiting(valkey) == [kept, also_kept]


def test_a_mail_waits_for_the_commit_of_the_database_that_is_named(valkey: Redis, other: str) -> None:
    with transaction.atomic(using=other):
        job_id = queue_vote(using=other)
        not_waiting_for_it = queue_vote()
        before = waiting(valkey)

    assert before == [not_waiting_for_it]
    assert waiting(valkey) == [not_waiting_for_it, job_id]


@pytest.mark.django_db(transaction=True)
def test_what_goes_wrong_after_the_commit_does_not_hurt_the_caller(
    valkey: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    later: list[str] = []

    with override_settings(RQ_QUEUES={}), transaction.atomic():
        queue_vote()
        transaction.on_commit(lambda: later.append("ran"))

    assert later == ["ran"]
    assert "RQ_QUEUES" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_without_autocommit_and_transaction_nobody_knows_when_to_queue(valkey: Redis) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(TransactionManagementError):
            queue_vote()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)

    assert waiting(valkey) == []


@pytest.mark.django_db(transaction=True)
def test_while_redis_is_away_mails_wait_in_the_outbox_and_are_relayed_in_order(valkey: Redis, dead_port: int) -> None:
    with redis_at(dead_port):
        single = queue_vote()
        bulk = queue_bulk_emails("vote-confirmation", ["a@example.com", "b@example.com"], VOTE)
        kept = rows()

    relayed = relay(Store(valkey))

    assert kept == [single, *bulk]
    assert relayed == 3
    assert waiting(valkey) == [single, *bulk]
    assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_redis_may_go_away_before_the_commit(valkey: Redis, dead_port: int) -> None:
    with redis_at(dead_port), transaction.atomic():
        job_id = queue_vote()
        before = rows()

    assert before == []
    assert rows() == [job_id]
    assert str(OutboxRow.objects.get()) == job_id


@pytest.mark.django_db(transaction=True)
def test_a_relayed_job_is_the_one_that_was_submitted(valkey: Redis, dead_port: int) -> None:
    with redis_at(dead_port):
        job_id = queue_email(
            "vote-confirmation", "ada@example.com", VOTE, attempts=7, backoff={"type": "fixed"}, idempotency_key="k"
        )

    job = OutboxRow.objects.get().new_job()

    assert (job.id, job.queue, job.label, job.keyed) == (job_id, "normal", "vote-confirmation", True)
    assert (job.attempts, job.backoff.type) == (7, "fixed")
    assert job.arguments["context"] == VOTE


@pytest.mark.django_db(transaction=True)
def test_a_delay_counts_from_the_call_also_in_the_outbox(valkey: Redis, dead_port: int) -> None:
    with redis_at(dead_port):
        job_id = queue_vote(delay=60)
    called = time.time()
    kept = OutboxRow.objects.get().new_job()

    relay(Store(valkey))

    assert abs(float(kept.due) - called - 60) < 1
    assert not kept.due.startswith("+")
    assert valkey.zscore("rq:scheduled:normal", job_id) == float(kept.due)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_relayed_twice_is_queued_once(valkey: Redis, dead_port: int) -> None:
    with redis_at(dead_port):
        job_id = queue_vote()
    row = OutboxRow.objects.get()
    relay(Store(valkey))
    row.pk = None
    row.save()  # as if the relay had been killed before it deleted the row

    relayed = relay(Store(valkey))

    assert relayed == 0
    assert waiting(valkey) == [job_id]
    assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_many_rows_are_relayed_in_pieces(valkey: Redis, dead_port: int) -> None:
    with redis_at(dead_port):
        ids = queue_bulk_emails("vote-confirmation", ["ada@example.com"] * (PIECE + 1), VOTE)

    relayed = relay(Store(valkey))

    assert relayed == PIECE + 1
    assert waiting(valkey) == ids


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_hangs_holds_up_one_call_for_a_second_and_the_next_not_at_all(
    valkey: Redis, hung_port: int
) -> None:
    began = time.monotonic()

    with redis_at(hung_port):
        first = queue_vote()
        after_first = time.monotonic() - began
        second = queue_vote()
        after_second = time.monotonic() - began - after_first

    assert after_first < 2
    assert after_second < 0.5
    assert rows() == [first, second]


@pytest.mark.django_db(transaction=True)
def test_redis_is_asked_again_after_five_seconds(valkey: Redis, dead_port: int) -> None:
    with redis_at(dead_port):
        first = queue_vote()
    second = queue_vote()
    asked_again_in = absence.until - time.monotonic()
    absence.until = time.monotonic()
    third = queue_vote()

    assert AVOID - 1 < asked_again_in <= AVOID == 5
    assert rows() == [first, second]
    assert waiting(valkey) == [third]


@pytest.mark.django_db(transaction=True)
def test_a_scheduled_mail_can_be_cancelled_once_it_is_relayed(valkey: Redis, dead_port: int) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    with redis_at(dead_port):
        job_id = schedule_email("vote-confirmation", "ada@example.com", VOTE, tomorrow)

    before = cancel_email(job_id)
    relay(Store(valkey))

    assert not before
    assert cancel_email(job_id)


@pytest.mark.django_db(transaction=True)
def test_with_always_a_row_follows_the_commit_of_another_database(
    valkey: Redis, other: str, queue_settings: Callable[..., None]
) -> None:
    queue_settings(OUTBOX="always")

    with transaction.atomic(using=other):
        job_id = queue_vote(using=other)
        before = rows()
    with suppress(Rollback), transaction.atomic(using=other):
        queue_vote("lost@example.com", using=other)
        raise Rollback

    assert before == []
    assert rows() == waiting(valkey) == [job_id]
