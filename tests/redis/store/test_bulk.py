"""How the jobs of a bulk call become visible together, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from emailqueue.jobs.job import NewJob
from emailqueue.store import PIECE, Added, Store, staging_key
from tests.support.scripts import ask, claim, claimed, counters, new_job, place, scheduled, settle, waiting


def bulk(store: Store, *ids: str, due: str = "", call: str = "", keyed: bool = False) -> list[Added]:
    jobs = [new_job(id=job_id, queue="low", label="progress-update", due=due, keyed=keyed) for job_id in ids]
    return store.enqueue_bulk(jobs, call=call)


def test_a_bulk_call_of_several_pieces_keeps_its_order(store: Store, valkey: Redis) -> None:
    ids = [f"job-{number}" for number in range(2 * PIECE + 1)]

    added = bulk(store, *ids)

    assert added == [Added.NEW] * len(ids)
    assert waiting(valkey, "low") == ids
    assert counters(valkey, "low:queued", "queued=progress-update") == {
        "low:queued": len(ids),
        "queued=progress-update": len(ids),
    }
    assert {valkey.ttl(f"rq:job:{job_id}") for job_id in ids} == {-1}
    assert valkey.keys("emailqueue:staging:*") == []
    assert valkey.sismember("rq:queues", "rq:queue:low")


def test_a_bulk_call_may_be_due_later(store: Store, valkey: Redis) -> None:
    bulk(store, "a", "b", due="+60")

    assert waiting(valkey, "low") == []
    assert scheduled(valkey, "low") == ["a", "b"]
    assert place(valkey, "a") == "scheduled"


def test_nothing_of_a_bulk_call_is_visible_before_all_of_it(store: Store, valkey: Redis) -> None:
    seen: list[list[str]] = []

    def jobs() -> Iterator[NewJob]:
        for number in range(PIECE + 1):
            seen.append(claimed(store))
            yield new_job(id=f"job-{number}", queue="low")

    store.enqueue_bulk(jobs(), call="")

    assert seen == [[]] * (PIECE + 1)
    assert len(waiting(valkey, "low")) == PIECE + 1


def test_a_bulk_call_whose_jobs_were_lost_before_it_ended_adds_none(store: Store, valkey: Redis) -> None:
    def jobs() -> Iterator[NewJob]:
        yield from (new_job(queue="low") for _ in range(2 * PIECE))
        [staging] = cast(list[bytes], valkey.keys("emailqueue:staging:*"))
        valkey.delete(staging)
        yield new_job(queue="low")

    with pytest.raises(RuntimeError, match="none of its 1001 jobs was queued"):
        store.enqueue_bulk(jobs(), call="")

    assert waiting(valkey, "low") == []
    assert all(valkey.ttl(key) > 0 for key in valkey.scan_iter("emailqueue:staging:*"))


def test_a_bulk_call_whose_key_is_known_adds_nothing(store: Store, valkey: Redis) -> None:
    bulk(store, "a", "b", call="c1", keyed=True)

    again = bulk(store, "a", "b", call="c1", keyed=True)

    assert again == [Added.ENDED] * 2
    assert waiting(valkey, "low") == ["a", "b"]


def test_of_two_bulk_calls_with_one_key_at_the_same_time_one_counts(store: Store, valkey: Redis) -> None:
    ids = [f"job-{number}" for number in range(PIECE + 1)]

    def jobs() -> Iterator[NewJob]:
        yield from (new_job(id=job_id, queue="low", keyed=True) for job_id in ids)
        assert bulk(store, *ids, call="c1", keyed=True) == [Added.NEW] * len(ids)

    late = store.enqueue_bulk(jobs(), call="c1")

    assert late == [Added.ENDED] * len(ids)
    assert waiting(valkey, "low") == ids
    assert valkey.keys("emailqueue:staging:*") == []


def test_the_jobs_of_a_bulk_call_that_broke_off_may_come_by_the_outbox(store: Store, valkey: Redis) -> None:
    staged = [new_job(id=f"job-{number}", queue="low") for number in range(2 * PIECE)]

    def jobs() -> Iterator[NewJob]:
        yield from staged
        raise RedisConnectionError("Redis is away")

    with pytest.raises(RedisConnectionError):
        store.enqueue_bulk(jobs(), call="")
    added = store.enqueue(staged[:2], relayed=True)

    assert added == [Added.NEW, Added.NEW]
    assert waiting(valkey, "low") == ["job-0", "job-1"]


def test_a_committed_bulk_call_is_brought_in_by_claims_when_its_caller_has_died(store: Store, valkey: Redis) -> None:
    ids = [f"job-{number}" for number in range(PIECE + 1)]
    staging = staging_key()
    store.stage(staging, [new_job(id=job_id, queue="low") for job_id in ids])
    before = claimed(store)
    store._run("commit", staging, len(ids), "")

    first = ask(store, room=0)
    second = ask(store, room=0)

    assert before == []
    assert (first.left, first.wait, second.left) == (True, 0, False)
    assert waiting(valkey, "low") == ids
    assert valkey.keys("emailqueue:staging:*") == []


@pytest.mark.parametrize("became", ["waiting", "sent", "forgotten"])
def test_a_bulk_call_that_went_by_the_outbox_before_adds_only_what_is_new(
    store: Store, valkey: Redis, became: str
) -> None:
    store.enqueue([new_job(id="a", queue="low", keyed=True)])  # as relaying an outbox row does
    if became != "waiting":
        settle(store, "sent", *claim(store))
    if became == "forgotten":
        valkey.delete("rq:job:a")

    bulk(store, "a", "b", call="c1", keyed=True)

    assert waiting(valkey, "low") == (["a", "b"] if became == "waiting" else ["b"])
    assert counters(valkey, "low:queued") == {"low:queued": 2}
