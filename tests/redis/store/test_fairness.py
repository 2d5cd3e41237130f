"""How old mail gets its turn behind urgent mail."""

from __future__ import annotations

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from redis import Redis

from emailqueue.store import Store
from tests.support.scripts import (
    claim,
    claimed,
    commands_of_a_claim,
    enqueue,
)

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
