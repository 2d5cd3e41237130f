"""How the rate limit holds mails back, and how staff change it."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from redis import Redis

from emailqueue.conf import Settings
from emailqueue.flow import current_limit, limit_in, reset_limit, set_limit
from emailqueue.store import Store
from tests.support.scripts import ask, claim, claimed, enqueue, redis_time


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


FLOW = "emailqueue:flow"


def test_a_limit_of_staff_goes_before_that_of_the_worker(store: Store) -> None:
    enqueue(store, "a", "b", "c")
    set_limit("2/s", burst=1)

    first, second = ask(store, interval=0), ask(store, interval=0, figures=True)

    assert [job.id for job in first.jobs] == ["a"]
    assert (second.jobs, second.left) == ([], True)
    assert 0.3 < second.wait <= 0.5
    assert second.figures is not None
    assert limit_in(second.figures.flow, Settings()).rate == 2


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
    time.sleep(0.11)
    assert claimed(store) == ["b"]


def test_a_new_limit_wakes_a_worker_that_waits_for_a_token(store: Store, valkey: Redis) -> None:
    valkey.delete("emailqueue:wake")

    set_limit("20/s")

    assert store.await_wake(1)


def test_a_limit_is_shown_with_its_burst(valkey: Redis) -> None:
    shown = [str(set_limit("200/s")), str(set_limit("90/m", burst=3)), str(current_limit()), str(set_limit("0"))]

    assert shown == ["200/s, burst 10", "1.5/s, burst 3", "1.5/s, burst 3", "none"]


@pytest.mark.parametrize("written", ["", "fast", "20"])
def test_what_a_stranger_wrote_as_limit_is_no_limit_of_staff(store: Store, valkey: Redis, written: str) -> None:
    valkey.hset(FLOW, "limit", written)
    enqueue(store, "a", "b")

    ids = claimed(store, interval=60_000_000)

    assert ids == ["a"]
