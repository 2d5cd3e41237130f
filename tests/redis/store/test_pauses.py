"""What a pause holds back, and what wakes a worker after it."""

from __future__ import annotations

from redis import Redis

from emailqueue.flow import pause, paused_queues, resume
from emailqueue.store import Store
from tests.support.scripts import ask, claimed, enqueue, redis_time


def test_a_paused_queue_is_not_handed_out(store: Store) -> None:
    enqueue(store, "a")
    enqueue(store, "b", queue="low")

    paused = pause("normal")
    held = ask(store)
    resumed = resume("normal")

    assert (paused, [job.id for job in held.jobs], resumed) == (("normal",), ["b"], ())
    assert claimed(store) == ["a"]


def test_mail_pauses_do_not_hold_events_unless_they_are_named(store: Store) -> None:
    for queue in ("critical", "high", "normal", "low", "events"):
        enqueue(store, f"in-{queue}", queue=queue)

    all_mail = pause()
    events = claimed(store)
    enqueue(store, "another", queue="events")
    with_events = pause("events")

    assert (all_mail, events) == (("critical", "high", "normal", "low"), ["in-events"])
    assert with_events == (*all_mail, "events")
    assert claimed(store) == []
    assert resume() == paused_queues() == ("events",)


def test_scheduled_mails_of_a_paused_queue_wait_and_wake_nobody(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", due="+0.001")
    pause("normal")
    while redis_time(valkey) / 1e6 < float(valkey.zscore("rq:scheduled:normal", "a") or 0):
        pass

    answer = ask(store)

    assert (answer.jobs, answer.wait) == ([], 20)
    assert valkey.zcard("rq:scheduled:normal") == 1
    resume("normal")
    assert claimed(store) == ["a"]


def test_resuming_wakes_a_worker(store: Store, valkey: Redis) -> None:
    pause("low")
    valkey.delete("emailqueue:wake")

    resume("low")

    assert store.await_wake(1)
