"""How one job reaches its queue, on a real Valkey."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import pytest
from redis import Redis

from emailqueue.jobs.job import new_id
from emailqueue.store import Added, Store
from tests.support.scripts import WAKE, ask, claim, claimed, counters, enqueue, new_job, settle, waiting


def test_jobs_are_handed_out_in_the_order_in_which_they_came(store: Store) -> None:
    enqueue(store, "a", "b", "c")

    ids = claimed(store)

    assert ids == ["a", "b", "c"]


def test_adding_a_job_again_changes_nothing(store: Store, valkey: Redis) -> None:
    job = new_job()

    added = [store.enqueue([job]), store.enqueue([job, new_job(id="b")])]

    assert added == [[Added.NEW], [Added.ON_ITS_WAY, Added.NEW]]
    assert waiting(valkey) == [job.id, "b"]
    assert counters(valkey, "normal:queued", "queued=vote-confirmation") == {
        "normal:queued": 2,
        "queued=vote-confirmation": 2,
    }


def test_a_key_is_remembered_when_its_job_is_gone(store: Store, valkey: Redis) -> None:
    job = new_job(keyed=True)
    store.enqueue([job])
    settle(store, "sent", *claim(store))
    valkey.delete(f"rq:job:{job.id}")

    added = store.enqueue([job])

    assert added == [Added.ENDED]
    assert valkey.ttl(f"emailqueue:known:{job.id}") > 86_000


@pytest.mark.parametrize("due", [lambda: "+60", lambda: f"{time.time() + 60:.6f}"], ids=["relative", "absolute"])
def test_a_job_that_is_due_later_waits_in_rqs_schedule(store: Store, valkey: Redis, due: Callable[[], str]) -> None:
    enqueue(store, "a", due=due())

    answer = ask(store)

    assert answer.jobs == []
    assert 0 < answer.wait <= 20
    [(_, score)] = cast(list[tuple[bytes, float]], valkey.zrange("rq:scheduled:normal", 0, -1, withscores=True))
    assert abs(score - time.time() - 60) < 1


@pytest.mark.parametrize("due", ["1.5", "-86400.000000"])
def test_the_past_means_now(store: Store, due: str) -> None:
    enqueue(store, "a", due=due)

    ids = claimed(store)

    assert ids == ["a"]


def test_the_wake_list_holds_one_element_at_most(store: Store, valkey: Redis) -> None:
    for _ in range(3):
        enqueue(store, new_id())
        store.wake()

    assert valkey.llen(WAKE) == 1
    assert store.await_wake(1)
    assert not store.await_wake(0.01)
