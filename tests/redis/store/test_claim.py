"""Each script on a real Valkey, called as the worker calls it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from rq import Queue
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend

from emailqueue import Backoff
from emailqueue.jobs.job import Job, MalformedJob, NewJob, new_id
from emailqueue.jobs.outcome import Staged
from emailqueue.store import PIECE, Added, Claim, Settled, Settlement, Store, staging_key

COUNTERS = "emailqueue:counters"
LEASES = "emailqueue:leases"
WAKE = "emailqueue:wake"
WORKER = "w1"


@pytest.fixture
def store(valkey: Redis) -> Store:
    return Store(valkey)


def new_job(**fields: Any) -> NewJob:
    values: dict[str, Any] = {
        "id": new_id(),
        "queue": "normal",
        "function": "emailqueue.delivery.deliver.deliver",
        "arguments": {"to": "ada@example.com"},
        "attempts": 3,
        "backoff": Backoff(),
        "label": "vote-confirmation",
        **fields,
    }
    return NewJob(**values)


def enqueue(store: Store, *ids: str, **fields: Any) -> None:
    store.enqueue([new_job(id=job_id, **fields) for job_id in ids])


def ask(store: Store, **asked: Any) -> Claim:
    """Claim as a worker with 10 free hands that serves all queues at no limit."""
    return store.claim(
        {
            "worker": WORKER,
            "ttl": 60,
            "now": "2030-01-01T00:00:00.000000Z",
            "state": "",
            "queues": ["critical", "high", "normal", "low"],
            "events": "events",
            "room": 10,
            "event_room": 5,
            "in_hand": 0,
            "lease": 15,
            "interval": 0,
            "burst": 1,
            "idle": 20_000,
            "figures": False,
            **asked,
        }
    )


def claim(store: Store, **asked: Any) -> list[Job]:
    return list(ask(store, **asked).jobs)


def claimed(store: Store, **asked: Any) -> list[str]:
    return [job.id for job in claim(store, **asked)]


def settle(store: Store, verb: str, *jobs: Job, **fields: Any) -> list[bool]:
    if verb in ("retry", "wait"):
        fields = {"history": "[]", **fields}
    elif verb == "dead":
        fields = {"death": new_id(), "record": "{}", **fields}
    batch = [Settlement(job=job, verb=verb, seconds=0.5, **fields) for job in jobs]
    return [bool(changed) for changed in store.settle(batch, worker=WORKER, now="2030-01-01T00:00:00Z", keep=500)]


def waiting(valkey: Redis, queue: str = "normal") -> list[str]:
    return [job_id.decode() for job_id in cast(list[bytes], valkey.lrange(f"rq:queue:{queue}", 0, -1))]


def scheduled(valkey: Redis, queue: str = "normal") -> list[str]:
    return [job_id.decode() for job_id in cast(list[bytes], valkey.zrange(f"rq:scheduled:{queue}", 0, -1))]


def place(valkey: Redis, job_id: str) -> str | None:
    found = cast(bytes | None, valkey.hget(f"rq:job:{job_id}", "place"))
    return found.decode() if found else None


def counters(valkey: Redis, *names: str) -> dict[str, int]:
    counted = cast(dict[bytes, bytes], valkey.hgetall(COUNTERS))
    return {name: int(counted.get(name.encode(), 0)) for name in names}


# Enqueue


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


# Bulk


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


# What a job has queued


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
    ended = Settlement(job=job, verb=verb, death="d1", record="{}")

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
    retry = [store.enqueue([new_job(id="a", letter="d1")], relayed=True) for _ in range(2)]

    assert plain == [Added.ENDED]
    assert retry == [[Added.NEW], [Added.ON_ITS_WAY]]


# Claim


def test_urgent_mail_is_handed_out_first_and_events_before_all(store: Store) -> None:
    for queue in ("low", "events", "normal", "critical", "high"):
        enqueue(store, f"in-{queue}", queue=queue)

    ids = claimed(store)

    assert ids == ["in-events", "in-critical", "in-high", "in-normal", "in-low"]


def test_a_worker_gets_what_it_has_room_for_and_of_the_queues_that_it_serves(store: Store) -> None:
    enqueue(store, "a", "b", "c")
    enqueue(store, "e", "f", queue="events")
    enqueue(store, "u", queue="critical")

    ids = [claimed(store, room=2, queues=["normal"], event_room=1), claimed(store, queues=["normal"], events="")]

    assert ids == [["e", "a"], ["b", "c"]]


def test_a_claim_without_room_takes_nothing(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")

    ids = claimed(store, room=0, event_room=0)

    assert ids == []
    assert waiting(valkey) == ["a"]


def test_a_job_is_handed_out_with_all_that_was_written(store: Store) -> None:
    new = new_job(letter="d1")
    store.enqueue([new])

    [job] = claim(store)

    assert (job.id, job.queue, job.label, job.letter) == (new.id, "normal", "vote-confirmation", "d1")
    assert (job.arguments(), job.attempts(), job.created_at) == ({"to": "ada@example.com"}, 3, new.created_at)
    assert (job.crashes, job.ambiguous, job.history) == (0, False, ())


def test_an_id_that_was_pushed_twice_runs_once(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    valkey.rpush("rq:queue:normal", "a", "a")

    first = claim(store, room=2)
    settle(store, "sent", *first)

    assert [job.id for job in first] == ["a"]
    assert claimed(store) == []


def test_a_sent_mail_that_is_requeued_from_a_dashboard_is_not_sent_again(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    settle(store, "sent", *claim(store))
    queue = Queue("normal", connection=valkey, serializer=JSONSerializer)

    queue._enqueue_job(RQJob.fetch("a", connection=valkey, serializer=JSONSerializer))

    assert waiting(valkey) == ["a"]
    assert claimed(store) == []


def test_a_running_mail_that_is_requeued_from_a_dashboard_runs_once(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    [job] = claim(store)
    queue = Queue("normal", connection=valkey, serializer=JSONSerializer)

    queue._enqueue_job(RQJob.fetch("a", connection=valkey, serializer=JSONSerializer))

    assert claimed(store) == []
    assert settle(store, "sent", job) == [True]


def test_a_scheduled_mail_that_a_dashboard_puts_into_the_queue_runs_at_once_and_not_again(
    store: Store, valkey: Redis
) -> None:
    enqueue(store, "a", due="+60")
    valkey.rpush("rq:queue:normal", "a")

    ids = claimed(store)

    assert ids == ["a"]
    assert scheduled(valkey) == []


def test_an_id_without_a_job_is_dropped_without_a_token(store: Store, valkey: Redis) -> None:
    valkey.rpush("rq:queue:normal", "gone", "gone too")
    enqueue(store, "a")

    ids = claimed(store, interval=60_000_000, burst=1)

    assert ids == ["a"]


def test_a_job_that_nobody_can_read_is_handed_out_and_can_be_settled(store: Store, valkey: Redis) -> None:
    valkey.hset("rq:job:x", mapping={"data": b"\x80pickled", "description": b"\xff"})
    valkey.rpush("rq:queue:normal", "x")

    [job] = claim(store)

    with pytest.raises(MalformedJob):
        job.function()
    assert settle(store, "dead", job) == [True]
    assert not valkey.exists("rq:job:x")


def test_due_jobs_leave_the_schedule_retries_to_the_head_and_others_to_the_end(store: Store) -> None:
    enqueue(store, "r1", "r2")
    first, second = claim(store)
    settle(store, "retry", first, due=0.001)
    settle(store, "retry", second, due=0.002)
    enqueue(store, "w")
    enqueue(store, "s1", due="+0.001")
    enqueue(store, "s2", due="+0.002")
    time.sleep(0.01)

    ids = claimed(store)

    assert ids == ["r1", "r2", "w", "s1", "s2"]


def test_a_claim_says_when_the_next_job_is_due(store: Store) -> None:
    enqueue(store, "a", due="+0.5")
    enqueue(store, "b", due="+5", queue="low")

    answer = ask(store)

    assert 0.3 < answer.wait <= 0.5


def test_a_scheduled_id_without_a_job_is_dropped(store: Store, valkey: Redis) -> None:
    valkey.zadd("rq:scheduled:normal", {"gone": 1.0})

    answer = ask(store)

    assert answer.jobs == []
    assert answer.wait == 20
    assert scheduled(valkey) == []


@pytest.mark.parametrize("verb", ["sent", ""])
def test_a_sent_or_running_mail_that_stands_in_the_schedule_is_not_handed_out_again(
    store: Store, valkey: Redis, verb: str
) -> None:
    enqueue(store, "a", "b")
    first, second = claim(store)
    settle(store, "retry", second)
    if verb:
        settle(store, verb, first)
    valkey.hset("rq:job:a", "enqueue_at_front", "1")
    valkey.zadd("rq:scheduled:normal", {"a": 1.0})

    ids = claimed(store)

    assert ids == ["b"]


def test_an_idle_claim_waits_for_the_idle_interval(store: Store) -> None:
    answer = ask(store, idle=500)

    assert (answer.wait, answer.left, answer.suspended, answer.alone) == (0.5, False, False, False)


def test_suspended_workers_get_nothing(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    suspend(valkey)

    held = ask(store)
    resume(valkey)

    assert (held.jobs, held.suspended, held.wait) == ([], True, 1.0)
    assert claimed(store) == ["a"]


def test_a_claim_that_leaves_work_behind_wakes_the_next_worker(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b")
    valkey.delete(WAKE)

    claimed(store, room=1)
    left_behind = valkey.llen(WAKE)
    valkey.delete(WAKE)
    claimed(store, room=1)

    assert left_behind == 1
    assert valkey.llen(WAKE) == 0


def test_figures_are_counted_when_they_are_asked_for(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    enqueue(store, "d", due="+60")
    settle(store, "sent", *claim(store, room=1))
    claim(store, room=1)
    valkey.zadd("rq:failed:normal", {"x": 1.0})

    plain, counted = ask(store, room=0, event_room=0), ask(store, room=0, event_room=0, figures=True, interval=100_000)

    assert plain.figures is None
    assert counted.figures is not None
    assert counted.figures["rate"] == 10
    assert counted.figures["queues"]["normal"] == {"waiting": 1, "active": 1, "delayed": 1, "foreign": 1}
    assert counted.figures["counters"]["normal:completed"] == 1


# The limit


def test_without_a_token_mail_waits_and_events_do_not(store: Store) -> None:
    enqueue(store, "a", "b", "c")
    enqueue(store, "e", queue="events")

    first = ask(store, interval=500_000, burst=2)
    second = ask(store, interval=500_000, burst=2)

    assert [job.id for job in first.jobs] == ["e", "a", "b"]
    assert (second.jobs, second.left) == ([], True)
    assert 0.3 < second.wait <= 0.5


def test_what_fills_the_room_is_not_limited(store: Store) -> None:
    enqueue(store, "a", "b")

    answer = ask(store, interval=500_000, burst=2, room=1)

    assert not answer.left


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    interval=st.integers(1_000, 5_000),
    burst=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 7), st.floats(0, 0.01)), min_size=2, max_size=10),
)
def test_no_stretch_of_time_sees_more_than_the_burst_and_the_rate(
    valkey: Redis, interval: int, burst: int, steps: list[tuple[int, float]]
) -> None:
    valkey.flushall()
    store = Store(valkey)
    enqueue(store, *(f"job-{number}" for number in range(70)))
    claims: list[tuple[int, int, int]] = []

    for room, pause in steps:
        before = redis_time(valkey)
        claims.append((before, len(claim(store, room=room, interval=interval, burst=burst)), redis_time(valkey)))
        time.sleep(pause)

    for first in range(len(claims)):
        for last in range(first, len(claims)):
            mails = sum(count for _, count, _ in claims[first : last + 1])
            stretch = claims[last][2] - claims[first][0]
            assert mails <= burst + stretch / interval + 0.01


def redis_time(valkey: Redis) -> int:
    """Return Redis's time in microseconds."""
    seconds, micros = valkey.time()
    return seconds * 1_000_000 + micros


# Leases


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


# Settle


def test_a_sent_mail_is_counted_and_shown_for_a_while(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", letter="d1")

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

    settle(store, "dead", *claim(store), death="d1", record='{"job_id": "a"}', ambiguous=ambiguous)

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


# Cancel and reschedule


@pytest.mark.parametrize("due", ["", "+60"])
def test_a_mail_that_waits_is_cancelled_and_its_key_is_free(store: Store, valkey: Redis, due: str) -> None:
    job = new_job(id="a", due=due, keyed=True)
    store.enqueue([job])

    cancelled = store.cancel("a")

    assert cancelled
    assert waiting(valkey) == scheduled(valkey) == []
    assert store.enqueue([job], relayed=True) == [Added.ENDED]  # as its outbox row would bring it back
    assert store.enqueue([job]) == [Added.NEW]


@pytest.mark.parametrize("due", ["", "+60"])
def test_a_mail_that_waits_is_moved_to_another_time(store: Store, valkey: Redis, due: str) -> None:
    enqueue(store, "a", due=due)
    valkey.delete(WAKE)

    later, now = store.reschedule("a", "+30"), (scheduled(valkey), waiting(valkey))
    sooner = store.reschedule("a", "1.0")

    assert (later, now) == (True, (["a"], []))
    assert sooner
    assert (scheduled(valkey), waiting(valkey)) == ([], ["a"])
    assert valkey.llen(WAKE) == 1


@pytest.mark.parametrize("verb", ["", "sent", "dead"])
def test_a_mail_that_a_worker_has_had_is_neither_cancelled_nor_moved(store: Store, valkey: Redis, verb: str) -> None:
    enqueue(store, "a")
    jobs = claim(store)
    if verb:
        settle(store, verb, *jobs)
    before = everything(valkey)

    moved = store.cancel("a"), store.reschedule("a", "+30"), store.cancel("unknown")

    assert moved == (False, False, False)
    assert everything(valkey) == before


# Counts


def test_counts_tell_what_stands_where(store: Store) -> None:
    enqueue(store, "a", "b")
    enqueue(store, "c", due="+60")
    settle(store, "dead", *claim(store, room=1))
    claim(store, room=1)

    counts = store.counts()

    assert counts.now["normal"] == (0, 1, 1)
    assert counts.now["events"] == (0, 0, 0)
    assert (counts.counters["normal:failed"], counts.inbox) == (1, 1)


def everything(valkey: Redis) -> dict[bytes, object]:
    """Return all keys with their values, save what a claim or settling counts up in any case."""

    def value(key: bytes) -> object:
        # The dump of a hash that grows has another order each time.
        return valkey.hgetall(key) if valkey.type(key) == b"hash" else valkey.dump(key)

    return {key: value(key) for key in valkey.scan_iter() if b"rq:worker:" not in key}


def test_a_record_is_stored_as_it_was_written(store: Store, valkey: Redis) -> None:
    record = json.dumps({"context": {"name": 'Grüße "\\ 🎉', "empty": {}, "list": []}, "big": 2**60})
    enqueue(store, "a")

    settle(store, "dead", *claim(store), death="d1", record=record)

    assert valkey.hget("emailqueue:dead", "d1") == record.encode()
