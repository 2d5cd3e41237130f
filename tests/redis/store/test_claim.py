"""What a claim hands out and in which order, on a real Valkey."""

from __future__ import annotations

import time

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend

from emailqueue.jobs.job import MalformedJob
from emailqueue.store import Store
from tests.support.scripts import WAKE, ask, claim, claimed, enqueue, new_job, scheduled, settle, waiting


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
    new = new_job(dead_letter="d1")
    store.enqueue([new])

    [job] = claim(store)

    assert (job.id, job.queue, job.label, job.dead_letter) == (new.id, "normal", "vote-confirmation", "d1")
    assert (job.arguments(), job.attempts, job.created_at) == ({"to": "ada@example.com"}, 3, new.created_at)
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
    assert counted.figures.flow == {}
    assert counted.figures.queues["normal"] == {"waiting": 1, "active": 1, "delayed": 1, "stock_failed": 1}
    assert counted.figures.counters["normal:completed"] == 1
