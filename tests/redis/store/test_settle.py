"""How a job is settled, once and by whoever holds its lease."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import cast

import pytest
from redis import Redis
from rq import Queue

from emailqueue.store import Store
from tests.support.scripts import (
    LEASES,
    WORKER,
    ask,
    claim,
    claimed,
    counters,
    enqueue,
    everything,
    place,
    scheduled,
    settle,
    waiting,
)


def test_a_sent_mail_is_counted_and_shown_for_a_while(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", dead_letter="d1")

    settled = settle(store, "sent", *claim(store))

    assert settled == [True]
    assert place(valkey, "a") == "sent"
    assert 490 < valkey.ttl("rq:job:a") <= 500
    assert valkey.zscore("rq:finished:normal", "a")
    assert counters(valkey, "normal:completed", "completed=vote-confirmation") == {
        "normal:completed": 1,
        "completed=vote-confirmation": 1,
    }
    assert valkey.lrange("emailqueue:redelivered", 0, -1) == [b"d1"]
    assert valkey.zcard("rq:wip:normal") == valkey.zcard(LEASES) == 0


@pytest.mark.parametrize(("verb", "counter"), [("retry", "normal:retried"), ("wait", "normal:waited")])
def test_a_retried_mail_waits_for_its_time_with_its_history(
    store: Store, valkey: Redis, verb: str, counter: str
) -> None:
    enqueue(store, "a")

    settle(store, verb, *claim(store), due=0.001, history='[{"charged": true}]')

    assert scheduled(valkey) == ["a"]
    assert counters(valkey, counter) == {counter: 1}
    time.sleep(0.005)
    [again] = claim(store)
    assert (again.charged(), again.crashes) == (1, 0)


def test_a_retried_mail_may_be_ambiguous(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")

    settle(store, "retry", *claim(store), ambiguous=True)

    [again] = claim(store)
    assert again.ambiguous
    assert counters(valkey, "normal:ambiguous") == {"normal:ambiguous": 1}


def test_jobs_that_go_back_to_the_head_keep_their_order_and_nothing_is_charged(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")

    settle(store, "back", *claim(store, room=2))

    assert waiting(valkey) == ["a", "b", "c"]
    assert [(job.charged(), job.crashes) for job in claim(store)] == [(0, 0)] * 3


@pytest.mark.parametrize(("ambiguous", "counted"), [(True, 1), (False, 0)])
def test_a_death_goes_to_the_inbox_and_its_job_is_gone(
    store: Store, valkey: Redis, ambiguous: bool, counted: int
) -> None:
    enqueue(store, "a")

    settle(store, "dead", *claim(store), inbox_id="d1", record='{"job_id": "a"}', ambiguous=ambiguous)

    assert valkey.hgetall("emailqueue:dead") == {b"d1": b'{"job_id": "a"}'}
    assert not valkey.exists("rq:job:a")
    assert counters(valkey, "normal:failed", "normal:ambiguous") == {"normal:failed": 1, "normal:ambiguous": counted}
    assert ask(store).inbox == 1


@pytest.mark.parametrize("verb", ["sent", "retry", "wait", "back", "dead"])
def test_settling_again_changes_nothing(store: Store, valkey: Redis, verb: str) -> None:
    enqueue(store, "a")
    jobs = claim(store)
    first = settle(store, verb, *jobs)
    before = everything(valkey)

    second = settle(store, verb, *jobs)

    assert (first, second) == ([True], [False])
    assert everything(valkey) == before


@pytest.mark.parametrize("verb", ["retry", "wait", "back", "dead"])
def test_a_worker_that_lost_its_lease_changes_nothing(store: Store, valkey: Redis, verb: str) -> None:
    enqueue(store, "a")
    [stale] = claim(store, lease=0)
    [job] = claim(store)
    before = everything(valkey)

    settled = settle(store, verb, stale)

    assert settled == [False]
    assert everything(valkey) == before
    assert settle(store, "sent", job) == [True]


def waits_again(store: Store) -> None:
    ask(store, room=0)


def waits_for_a_retry(store: Store) -> None:
    settle(store, "retry", *claim(store), due=60)


def runs_elsewhere(store: Store) -> None:
    claim(store, worker="w2")


@pytest.mark.parametrize("became", [waits_again, waits_for_a_retry, runs_elsewhere])
def test_sent_always_wins(store: Store, valkey: Redis, became: Callable[[Store], None]) -> None:
    enqueue(store, "a")
    [sent] = claim(store, lease=0)
    became(store)

    settled = settle(store, "sent", sent)

    assert settled == [True]
    assert place(valkey, "a") == "sent"
    assert waiting(valkey) == scheduled(valkey) == claimed(store) == []
    assert valkey.zcard(LEASES) == valkey.zcard("rq:wip:normal") == 0
    assert counters(valkey, "normal:completed") == {"normal:completed": 1}


def test_a_mail_that_was_skipped_wins_over_nobody(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    [skipped] = claim(store, lease=0)
    [job] = claim(store, worker="w2")

    settled = settle(store, "sent", skipped, skipped=True)

    assert settled == [False]
    assert store.fence([job]) == [True]
    assert counters(valkey, "normal:skipped", "normal:completed") == {"normal:skipped": 0, "normal:completed": 0}


@pytest.mark.parametrize("verb", ["sent", "retry", "wait", "back", "dead"])
def test_after_sent_has_won_the_other_worker_changes_nothing(store: Store, valkey: Redis, verb: str) -> None:
    enqueue(store, "a")
    [stale] = claim(store, lease=0)
    [job] = claim(store)
    settle(store, "sent", stale)
    before = everything(valkey)

    settled = settle(store, verb, job)

    assert settled == [False]
    assert everything(valkey) == before


def test_sent_comes_too_late_for_a_dead_letter(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    [sent] = claim(store, lease=0)
    settle(store, "dead", *claim(store))

    settled = settle(store, "sent", sent)

    assert settled == [False]
    assert not valkey.exists("rq:job:a")


def test_the_registry_of_finished_jobs_keeps_the_newest_thousand(store: Store, valkey: Redis) -> None:
    later = time.time() + 100
    valkey.zadd("rq:finished:normal", {"expired": 1.0, **{f"job-{number}": later + number for number in range(1001)}})
    valkey.hset("rq:job:job-0", "place", "sent")
    enqueue(store, "a", "b")

    settle(store, "sent", *claim(store))

    assert valkey.zcard("rq:finished:normal") == 1000
    assert cast(list[bytes], valkey.zrange("rq:finished:normal", 0, 0)) == [b"job-3"]
    assert not valkey.exists("rq:job:job-0")
    assert valkey.zscore("rq:finished:normal", "a")


def test_what_a_worker_does_is_shown_where_rq_looks(store: Store, valkey: Redis) -> None:
    valkey.hset(f"rq:worker:{WORKER}", "birth", "then")
    enqueue(store, "a", "b")

    first, second = claim(store, state="busy")
    shown = Queue("normal", connection=valkey).started_job_registry.get_job_ids(cleanup=False)
    settle(store, "sent", first)
    settle(store, "dead", second)

    assert shown == ["a", "b"]
    worker = cast(dict[bytes, bytes], valkey.hgetall(f"rq:worker:{WORKER}"))
    assert worker[b"state"] == b"busy"
    assert (worker[b"successful_job_count"], worker[b"failed_job_count"], worker[b"total_working_time"]) == (
        b"1",
        b"1",
        b"1",
    )


def test_a_late_settling_does_not_bring_a_dead_worker_back(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")

    settle(store, "sent", *claim(store))

    assert not valkey.exists(f"rq:worker:{WORKER}")


def test_a_record_is_stored_as_it_was_written(store: Store, valkey: Redis) -> None:
    record = json.dumps({"context": {"name": 'Grüße "\\ 🎉', "empty": {}, "list": []}, "big": 2**60})
    enqueue(store, "a")

    settle(store, "dead", *claim(store), inbox_id="d1", record=record)

    assert valkey.hget("emailqueue:dead", "d1") == record.encode()
