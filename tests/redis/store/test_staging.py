"""What a job has queued becomes visible when the job is settled."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from emailqueue.jobs.outcome import Staged
from emailqueue.store import Added, Settled, Settlement, Store, staging_key
from tests.support.scripts import WORKER, claim, claimed, enqueue, new_job, settle


def staged(store: Store, *ids: str) -> Staged:
    key = staging_key()
    return Staged(key=key, count=store.stage(key, [new_job(id=job_id) for job_id in ids]))


def test_what_a_job_has_queued_is_visible_once_the_job_is_settled(store: Store, valkey: Redis) -> None:
    enqueue(store, "event", queue="events")
    [event] = claim(store)
    settlement = Settlement(job=event, verb="sent", staged=staged(store, "a", "b"))
    before = claimed(store)

    first = store.settle([settlement], worker=WORKER, now="", keep=60)
    again = store.settle([settlement], worker=WORKER, now="", keep=60)
    ids = claimed(store)

    assert before == []
    assert (first, again) == ([Settled.WRITTEN], [Settled.LEASE_LOST])
    assert ids == ["a", "b"]
    assert valkey.keys("emailqueue:staging:*") == valkey.keys("emailqueue:committed") == []


def test_what_a_job_has_queued_stays_hidden_when_it_has_lost_its_lease_to_one_that_is_done(
    store: Store, valkey: Redis
) -> None:
    enqueue(store, "event", queue="events")
    [late] = claim(store, lease=0.001)
    time.sleep(0.01)
    [event] = claim(store)
    store.settle([Settlement(job=event, verb="sent", staged=staged(store, "a"))], worker=WORKER, now="", keep=60)

    settled = store.settle([Settlement(job=late, verb="sent", staged=staged(store, "b"))], worker="", now="", keep=60)

    assert settled == [Settled.LEASE_LOST]
    assert claimed(store) == ["a"]
    assert [valkey.ttl(key) > 0 for key in valkey.keys("emailqueue:staging:*")] == [True]


def test_a_job_runs_again_when_what_it_queued_has_expired(store: Store, valkey: Redis) -> None:
    enqueue(store, "event", queue="events")
    [event] = claim(store)
    expired = staged(store, "a")
    valkey.delete(expired.key)

    settled = store.settle([Settlement(job=event, verb="sent", staged=expired)], worker=WORKER, now="", keep=60)

    assert settled == [Settled.LEASE_LOST]
    assert claimed(store) == ["event"]


@pytest.mark.parametrize("verb", ["sent", "dead"])
def test_the_end_of_a_job_that_redis_has_forgotten_is_remembered(store: Store, valkey: Redis, verb: str) -> None:
    new = new_job()
    store.enqueue([new])
    [job] = claim(store)
    valkey.flushall()
    ended = Settlement(job=job, verb=verb, inbox_id="d1", record="{}")

    settled = [store.settle([ended], worker=WORKER, now="", keep=60) for _ in range(2)]
    added = store.enqueue([new], relayed=True)

    assert settled == [[Settled.WRITTEN], [Settled.LEASE_LOST]]
    assert added == [Added.ENDED]
    assert valkey.hlen("emailqueue:dead") == (verb == "dead")
    assert not valkey.exists(f"rq:job:{new.id}")


def test_a_retry_is_another_run_of_a_job_that_has_ended(store: Store, valkey: Redis) -> None:
    store.enqueue([new_job(id="a")])
    settle(store, "dead", *claim(store))

    plain = store.enqueue([new_job(id="a")], relayed=True)
    retry = [store.enqueue([new_job(id="a", dead_letter="d1")], relayed=True) for _ in range(2)]

    assert plain == [Added.ENDED]
    assert retry == [[Added.NEW], [Added.ON_ITS_WAY]]
