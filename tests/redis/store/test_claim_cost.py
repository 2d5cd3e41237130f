"""What a claim costs, and by whose clock it reckons."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from emailqueue.jobs.job import timestamp
from emailqueue.store import Store
from tests.support.scripts import (
    ask,
    claim,
    commands_of_a_claim,
    enqueue,
    scheduled,
    waiting,
)


def test_a_claim_says_by_the_clock_of_redis_how_long_a_mail_has_waited(store: Store) -> None:
    an_hour_ago = timestamp(datetime.now(UTC) - timedelta(hours=1))
    enqueue(store, "a", created_at=an_hour_ago)
    enqueue(store, "b", created_at=an_hour_ago, due=f"{time.time() - 60:.6f}")
    enqueue(store, "c", created_at=an_hour_ago)
    store.reschedule("c", "1.0")

    waits = [job.waited() for job in claim(store, now="1970-01-01T00:00:00.000000Z")]

    assert waits == pytest.approx([3600, 60, 0], abs=2)


def test_a_hundred_thousand_scheduled_mails_cost_an_idle_worker_no_command_more_than_one(
    store: Store, valkey: Redis
) -> None:
    in_an_hour = time.time() + 3600
    valkey.zadd("rq:scheduled:low", {"mail-0": in_an_hour})
    one = commands_of_a_claim(store)
    for first in range(0, 100_000, 10_000):
        valkey.zadd(
            "rq:scheduled:low", {f"mail-{number}": in_an_hour + number for number in range(first, first + 10_000)}
        )

    many = commands_of_a_claim(store)

    assert valkey.zcard("rq:scheduled:low") == 100_000
    assert many == one


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00.000000Z", "2099-12-31T23:59:59.000000Z"])
def test_the_clock_of_a_worker_changes_nothing(store: Store, valkey: Redis, clock: str) -> None:
    enqueue(store, "due", due="+0.05")
    enqueue(store, "later", due="+60")
    enqueue(store, "a", "b")
    limit = {"interval": 40_000, "burst": 1}

    first, second = ask(store, now=clock, **limit), ask(store, now=clock, **limit)
    time.sleep(0.1)
    third = ask(store, now=clock, **limit)

    assert [[job.id for job in answer.jobs] for answer in (first, second, third)] == [["a"], [], ["b"]]
    assert 0 < second.wait <= 0.05
    assert waiting(valkey) == ["due"]
    assert scheduled(valkey) == ["later"]
    assert abs(float(valkey.zscore("emailqueue:leases", "b") or 0) - time.time() - 15) < 1


def test_an_idle_claim_costs_four_commands(store: Store) -> None:
    calls = commands_of_a_claim(store)

    assert sum(calls.values()) <= 4, calls
