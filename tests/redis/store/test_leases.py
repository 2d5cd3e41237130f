"""What becomes of a job whose worker is gone: leases and fences."""

from __future__ import annotations

import time
from typing import cast

import pytest
from redis import Redis

from emailqueue.store import Store
from tests.support.scripts import LEASES, ask, claim, claimed, counters, enqueue, settle, waiting


def test_jobs_of_a_dead_worker_go_back_to_the_head_in_their_order(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    claim(store, room=2, lease=0)

    ask(store, room=0)

    assert waiting(valkey) == ["a", "b", "c"]
    assert valkey.zcard("rq:wip:normal") == 0
    assert cast(list[bytes], valkey.keys("rq:execution:*")) == []
    assert counters(valkey, "normal:ambiguous") == {"normal:ambiguous": 0}


@pytest.mark.parametrize("verb", ["wait", "back", "retry", ""])
def test_a_job_that_waits_again_is_shown_without_a_worker(store: Store, valkey: Redis, verb: str) -> None:
    enqueue(store, "a")
    jobs = claim(store, lease=0)
    store.fence(jobs)

    if verb:
        settle(store, verb, *jobs)
    else:
        ask(store, room=0)

    shown = cast(dict[bytes, bytes], valkey.hgetall("rq:job:a"))
    assert shown[b"status"] == (b"scheduled" if verb == "retry" else b"queued")
    assert not {b"worker_name", b"started_at", b"lease", b"fence"} & shown.keys()


def test_a_mail_whose_worker_died_after_the_fence_is_ambiguous(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    store.fence(claim(store, lease=0))

    [job] = claim(store)

    assert (job.ambiguous, job.crashes) == (True, 1)
    assert counters(valkey, "normal:ambiguous", "ambiguous=vote-confirmation") == {
        "normal:ambiguous": 1,
        "ambiguous=vote-confirmation": 1,
    }


def test_a_fence_of_an_earlier_lease_does_not_make_the_next_one_ambiguous(store: Store) -> None:
    enqueue(store, "a")
    store.fence(first := claim(store))
    settle(store, "retry", *first)
    claim(store, lease=0)

    [job] = claim(store)

    assert (job.ambiguous, job.crashes) == (False, 1)


def test_a_job_whose_worker_died_is_claimed_alone(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b")
    claim(store, room=1, lease=0)

    busy = ask(store, in_hand=1)
    waits_for_all = waiting(valkey)
    free = ask(store, in_hand=0)

    assert (busy.jobs, busy.alone, waits_for_all) == ([], True, ["a", "b"])
    assert ([job.id for job in free.jobs], free.alone) == (["a"], True)


def test_an_event_whose_worker_died_is_claimed_alone_too(store: Store) -> None:
    enqueue(store, "e", queue="events")
    claim(store, lease=0)
    enqueue(store, "a")

    answer = ask(store)

    assert ([job.id for job in answer.jobs], answer.alone) == (["e"], True)


def test_a_job_whose_worker_died_waits_behind_what_was_claimed_with_it(store: Store) -> None:
    enqueue(store, "dead", queue="low")
    claim(store, lease=0)
    enqueue(store, "a")

    answer = ask(store)

    assert ([job.id for job in answer.jobs], answer.alone) == (["a"], True)


def test_a_claim_says_when_the_next_lease_runs_out(store: Store) -> None:
    enqueue(store, "a")
    claim(store, lease=0.5)

    answer = ask(store)

    assert 0.3 < answer.wait <= 0.5


def test_a_lease_without_a_job_is_dropped(store: Store, valkey: Redis) -> None:
    valkey.zadd(LEASES, {"gone": 1.0})

    answer = ask(store)

    assert answer.jobs == []
    assert valkey.zcard(LEASES) == 0


def test_a_renewed_lease_lives_on(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    jobs = claim(store, lease=0)

    renewed = store.renew(jobs, lease=60)

    assert renewed == [True]
    assert claimed(store) == []
    assert abs(cast(float, valkey.zscore(LEASES, "a")) - time.time() - 60) < 1


def test_a_lost_lease_is_neither_renewed_nor_fenced(store: Store) -> None:
    enqueue(store, "a", "b")
    lost = claim(store, room=1, lease=0)
    [mine] = claim(store)

    answers = store.renew([*lost, mine], lease=60), store.fence([*lost, mine])

    assert answers == ([False, True], [False, True])


def test_asking_for_the_fence_again_says_the_same(store: Store) -> None:
    enqueue(store, "a")
    jobs = claim(store)

    answers = [store.fence(jobs), store.fence(jobs)]

    assert answers == [[True], [True]]


@pytest.mark.parametrize("verb", ["sent", "retry", "wait", "back", "dead"])
def test_a_settled_job_is_not_fenced(store: Store, verb: str) -> None:
    enqueue(store, "a")
    jobs = claim(store)
    settle(store, verb, *jobs)

    granted = store.fence(jobs)

    assert granted == [False]
