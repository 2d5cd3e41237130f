"""What limits, pauses, fairness, outages and slowed domains do to a claim, on a real Valkey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from redis import Redis

from emailqueue.flow import current_limit, pause, paused_queues, reset_limit, resume, set_limit
from emailqueue.store import Store
from tests.integration.test_scripts import ask, claim, claimed, enqueue, redis_time

FLOW = "emailqueue:flow"


@pytest.fixture
def store(valkey: Redis) -> Store:
    return Store(valkey)


# The limit at run time


def test_a_limit_of_staff_goes_before_that_of_the_worker(store: Store) -> None:
    enqueue(store, "a", "b", "c")
    set_limit("2/s", burst=1)

    first, second = ask(store, interval=0), ask(store, interval=0, figures=True)

    assert [job.id for job in first.jobs] == ["a"]
    assert (second.jobs, second.limited) == ([], True)
    assert 0.3 < second.wait <= 0.5
    assert second.figures is not None
    assert second.figures["rate"] == 2


def test_staff_may_lift_the_limit_and_go_back_to_the_workers(store: Store) -> None:
    enqueue(store, "a", "b", "c", "d")
    set_limit("0")

    lifted = claimed(store, interval=60_000_000, burst=1, room=2)
    reset_limit()
    back = claimed(store, interval=60_000_000, burst=1)

    assert (lifted, back) == (["a", "b"], ["c"])


def test_a_slow_limit_holds_nothing_back_once_it_is_lifted(store: Store) -> None:
    enqueue(store, "a", "b")
    set_limit("1/h", burst=1)
    claimed(store)

    set_limit("10/s", burst=1)
    answer = ask(store)

    assert answer.jobs == []
    assert answer.wait <= 0.1


def test_a_new_limit_wakes_a_worker_that_waits_for_a_token(store: Store, valkey: Redis) -> None:
    valkey.delete("emailqueue:wake")

    set_limit("20/s")

    assert store.await_wake(1)


def test_a_limit_is_shown_with_its_burst(valkey: Redis) -> None:
    shown = [str(set_limit("200/s")), str(set_limit("90/m", burst=3)), str(current_limit()), str(set_limit("0"))]

    assert shown == ["200/s, burst 10", "1.5/s, burst 3", "1.5/s, burst 3", "none"]


# Pauses


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


# Fairness


TENTH = 100_000


def test_of_ten_mails_one_goes_to_the_oldest_behind_the_most_urgent_queue(store: Store) -> None:
    enqueue(store, *(f"urgent-{number}" for number in range(40)), queue="critical")
    enqueue(store, "low-1", queue="low")
    enqueue(store, "high-1", queue="high")
    enqueue(store, "low-2", queue="low")

    turns = [claimed(store, room=1, fair=TENTH)[0] for _ in range(30)]

    assert [turns.index(job_id) for job_id in ("low-1", "high-1", "low-2")] == [9, 19, 29]


def test_what_is_handed_out_for_its_age_says_so(store: Store) -> None:
    enqueue(store, *(f"urgent-{number}" for number in range(20)), queue="critical")
    enqueue(store, "low-1", queue="low")

    jobs = claim(store, room=10, fair=TENTH)

    assert [job.id for job in jobs if job.fair] == ["low-1"]
    assert len(jobs) == 10


def test_fairness_costs_nothing_where_one_queue_has_mail(store: Store) -> None:
    enqueue(store, *(f"job-{number}" for number in range(20)))

    with_it, without = (commands_of_a_claim(store, room=1, fair=fair) for fair in (TENTH, 0))
    enqueue(store, "low-1", queue="low")
    where_two_have = commands_of_a_claim(store, room=1, fair=TENTH)

    assert with_it == without
    assert sum(where_two_have.values()) <= sum(without.values()) + 2


def test_turns_that_nobody_needed_are_not_saved_up(store: Store) -> None:
    enqueue(store, *(f"urgent-{number}" for number in range(100)), queue="critical")
    claimed(store, room=50, fair=TENTH)
    enqueue(store, *(f"low-{number}" for number in range(10)), queue="low")

    ids = claimed(store, room=10, fair=TENTH)

    assert [job_id for job_id in ids if job_id.startswith("low")] == ["low-0"]


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    share=st.integers(1, 1_000_000),
    rooms=st.lists(st.integers(1, 7), min_size=1, max_size=12),
    lower=st.lists(st.sampled_from(["high", "normal", "low"]), min_size=1, max_size=12),
)
def test_the_share_holds_over_all_claims_however_large_they_are(
    valkey: Redis, share: int, rooms: list[int], lower: list[str]
) -> None:
    valkey.flushall()
    store = Store(valkey)
    enqueue(store, *(f"urgent-{number}" for number in range(100)), queue="critical")
    for number, queue in enumerate(lower):
        enqueue(store, f"lower-{number:02}", queue=queue)
    handed_out: list[str] = []

    for number, room in enumerate(rooms):
        handed_out += claimed(store, room=room, fair=share, worker=f"w{number % 3}")

        fair = [job_id for job_id in handed_out if job_id.startswith("lower")]
        turns = len(handed_out) * share // 1_000_000
        if len(fair) < len(lower):
            assert turns - 1 <= len(fair) <= turns, "the share is kept to within one turn"
        assert fair == sorted(fair), "the oldest of all lower queues comes first"
        urgent = [job_id for job_id in handed_out if job_id.startswith("urgent")]
        assert urgent == [f"urgent-{at}" for at in range(len(urgent))]


# What an idle worker costs


def commands_of_a_claim(store: Store, **asked: Any) -> Mapping[str, int]:
    ask(store, **asked)
    store.connection.config_resetstat()
    ask(store, **asked)
    statistics: Mapping[str, Any] = store.connection.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in statistics.items()}
    return {name: count for name, count in calls.items() if name not in ("info", "config|resetstat")}


def test_an_idle_claim_costs_eight_commands(store: Store) -> None:
    calls = commands_of_a_claim(store)

    assert sum(calls.values()) <= 8, calls


@pytest.mark.parametrize("written", ["", "fast", "20"])
def test_what_a_stranger_wrote_as_limit_is_no_limit_of_staff(store: Store, valkey: Redis, written: str) -> None:
    valkey.hset(FLOW, "limit", written)
    enqueue(store, "a", "b")

    ids = claimed(store, interval=60_000_000)

    assert ids == ["a"]
