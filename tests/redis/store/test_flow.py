"""What limits, pauses, fairness, outages and throttled domains do to a claim, on a real Valkey."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis import Redis

from emailqueue.flow import current_limit, outages_in, pause, paused_queues, reset_limit, resume, set_limit
from emailqueue.jobs.job import Job, new_id, timestamp
from emailqueue.store import THROTTLED, Settled, Settlement, Store
from tests.acceptance.test_pace import commands
from tests.redis.store.test_claim import ask, claim, claimed, counters, enqueue, redis_time, scheduled, waiting

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
    assert (second.jobs, second.left) == ([], True)
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
    time.sleep(0.11)
    assert claimed(store) == ["b"]


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


# The circuit of a mail server that is away

SERVER = "mail.example:25"
CIRCUIT = f"emailqueue:outage:{SERVER}"


def take(store: Store, **asked: Any) -> list[Job]:
    return claim(store, server=SERVER, **asked)


def settle_for(store: Store, verb: str, *jobs: Job, dice: float = 1.0, **fields: Any) -> list[Settled]:
    """Settle as a worker does that speaks to SERVER. At a dice of 1 a wait is the shortest, at 0 the longest."""
    if verb in ("retry", "wait", "throttle"):
        fields = {"history": '[{"charged": false}]', **fields}
    elif verb == "dead":
        fields = {"death": new_id(), "record": "{}", **fields}
    batch = [Settlement(job=job, verb=verb, **fields) for job in jobs]
    return store.settle(batch, worker="w1", now="", keep=60, server=SERVER, rng=Dice(dice))


class Dice(random.Random):
    def __init__(self, fallen: float) -> None:
        super().__init__()
        self.fallen = fallen

    def random(self) -> float:
        return self.fallen


def charged(job: Job, **fields: Any) -> Settlement:
    return Settlement(job=job, verb="retry", history='[{"charged": true}]', **fields)


def begin_outage(store: Store) -> None:
    """Open the circuit with the first mail that waits."""
    assert settle_for(store, "wait", *take(store, room=1)) == [Settled.OUTAGE_BEGAN]


def let_the_next_probe_come(valkey: Redis) -> None:
    valkey.hset(CIRCUIT, "next", "0")


def test_an_outage_puts_mail_back_uncharged_and_hands_out_none(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    enqueue(store, "e", queue="events")

    settled = settle_for(store, "wait", *take(store, room=2, event_room=0))
    answer = ask(store, server=SERVER)

    assert sorted(settled) == [Settled.WRITTEN, Settled.OUTAGE_BEGAN]
    assert waiting(valkey) == ["a", "b", "c"]
    assert [job.id for job in answer.jobs] == ["e"], "events go on"
    assert 0.5 < answer.wait <= 1
    assert counters(valkey, "normal:waited", "normal:retried") == {"normal:waited": 2, "normal:retried": 0}
    assert claimed(store, server="other.example:25") == ["a", "b", "c"], "each mail server has its own circuit"


def test_the_order_holds_although_workers_give_back_their_mails_one_after_the_other(
    store: Store, valkey: Redis
) -> None:
    enqueue(store, *(f"job-{number}" for number in range(9)))
    first, second, third = take(store, room=3), take(store, room=3), take(store, room=2)

    settle_for(store, "wait", *reversed(second))
    settle_for(store, "wait", first[2])
    settle_for(store, "back", *third)
    settle_for(store, "wait", first[1], first[0])

    assert waiting(valkey) == [f"job-{number}" for number in range(9)]


def test_giving_back_many_mails_behind_many_others_stays_cheap(store: Store, valkey: Redis) -> None:
    ids = [f"job-{number:04}" for number in range(2000)]
    enqueue(store, *ids)
    first, second = take(store, room=500), take(store, room=500)
    settle_for(store, "back", *first)
    valkey.config_resetstat()

    settle_for(store, "back", *second)

    assert waiting(valkey) == ids
    assert sum(commands(valkey).values()) < 500 * 50


def test_one_mail_at_a_time_probes_over_all_workers(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    begin_outage(store)
    let_the_next_probe_come(valkey)

    probes = [take(store, worker="w1"), take(store, worker="w2"), take(store, worker="w1")]

    assert [len(probe) for probe in probes] == [1, 0, 0]


def test_probes_rotate_over_mails_and_queues(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", queue="critical")
    enqueue(store, "b", "c")
    enqueue(store, "d", queue="low")
    begin_outage(store)
    probes = []

    for _ in range(8):
        let_the_next_probe_come(valkey)
        [probe] = take(store)
        settle_for(store, "wait", probe)
        probes.append(probe.id)

    assert probes == ["b", "c", "d", "a"] * 2


@pytest.mark.parametrize(("dice", "share"), [(0.0, 1.0), (1.0, 0.75)], ids=["longest", "shortest"])
def test_the_wait_between_probes_doubles_up_to_a_minute(store: Store, valkey: Redis, dice: float, share: float) -> None:
    enqueue(store, "a")
    settle_for(store, "wait", *take(store), dice=dice)
    waits = []

    for _ in range(9):
        waits.append(round(float(valkey.hget(CIRCUIT, "next") or 0) / 1e6 - redis_time(valkey) / 1e6, 1))
        let_the_next_probe_come(valkey)
        settle_for(store, "wait", *take(store), dice=dice)

    steps = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits == pytest.approx([step * share for step in steps], abs=0.11)


@pytest.mark.parametrize(
    ("verb", "reached", "settled"),
    [
        ("sent", True, Settled.OUTAGE_ENDED),
        ("dead", True, Settled.OUTAGE_ENDED),
        ("retry", True, Settled.OUTAGE_ENDED),
        ("retry", False, Settled.WRITTEN),
        ("back", False, Settled.WRITTEN),
    ],
)
def test_the_first_word_of_a_server_that_takes_mail_ends_the_outage(
    store: Store, valkey: Redis, verb: str, reached: bool, settled: Settled
) -> None:
    enqueue(store, "a", "b", "c", "d")
    begin_outage(store)
    let_the_next_probe_come(valkey)
    valkey.delete("emailqueue:wake")

    answer = settle_for(store, verb, *take(store), reached=reached)

    ended = settled is Settled.OUTAGE_ENDED
    assert answer == [settled]
    assert valkey.llen("emailqueue:wake") == ended
    # A probe that ended without a word to the server is followed by another at once.
    assert (len(take(store)) > 1) is ended
    assert bool(get_outages(store)) is not ended


def get_outages(store: Store) -> Mapping[str, object]:
    return outages_in(store.flow())


def test_a_mail_that_went_out_before_the_outage_does_not_end_it(store: Store) -> None:
    enqueue(store, "a", "b", "c")
    early, lost = take(store, room=2)
    settle_for(store, "wait", lost)

    answer = settle_for(store, "sent", early, reached=True)

    assert answer == [Settled.WRITTEN]
    assert list(get_outages(store)) == [SERVER]


def test_a_probe_that_dies_with_its_worker_is_followed_by_another(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    begin_outage(store)
    let_the_next_probe_come(valkey)
    [died] = take(store, lease=0)

    [next_probe] = take(store, in_hand=0)

    assert (died.crashes, next_probe.crashes) == (0, 1), "and it is the same, since no answer came"


def test_a_mail_that_fails_again_while_the_server_takes_others_is_charged(store: Store, valkey: Redis) -> None:
    enqueue(store, "poison", "b", "c")
    [poison] = take(store, room=1)
    settle_for(store, "wait", poison, otherwise=charged(poison))
    let_the_next_probe_come(valkey)
    settle_for(store, "sent", *take(store), reached=True)

    [poison] = take(store, room=1)
    settled = settle_for(store, "wait", poison, otherwise=charged(poison, due=60))

    assert (poison.id, poison.charged(), settled) == ("poison", 0, [Settled.WRITTEN])
    assert scheduled(valkey) == ["poison"]
    assert get_outages(store) == {}
    assert claimed(store, server=SERVER) == ["c"]


def test_a_mail_is_not_charged_in_its_first_outage_nor_as_a_probe(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")

    for _ in range(4):
        [job] = take(store)
        settle_for(store, "wait", job, otherwise=charged(job))
        let_the_next_probe_come(valkey)

    [job] = take(store)
    assert job.charged() == 0


def test_another_answer_of_the_server_clears_a_mail_of_suspicion(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    begin_outage(store)
    let_the_next_probe_come(valkey)
    [job] = take(store)
    settle_for(store, "retry", job, reached=True, due=0.0)

    [job] = take(store)
    answer = settle_for(store, "wait", job, otherwise=charged(job))

    assert answer == [Settled.OUTAGE_BEGAN]


def test_a_refused_account_is_said_once_an_outage(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b")
    answers = []

    for alert in (False, True, True):
        answers += settle_for(store, "wait", *take(store, room=1), alert=alert)
        let_the_next_probe_come(valkey)

    assert answers == [Settled.OUTAGE_BEGAN, Settled.ACCOUNT_REFUSED, Settled.WRITTEN]


def test_a_mail_server_that_no_worker_probes_any_more_is_not_shown(store: Store) -> None:
    enqueue(store, "a")
    begin_outage(store)

    later = outages_in(store.flow(), clock=lambda: time.time() + 2 * 3600)

    assert (list(get_outages(store)), later) == ([SERVER], {})


class Outages(RuleBasedStateMachine):
    """
    Workers claim, meet outages and settle in any order.

    The model: mails wait in their order, an outage charges none and loses none, and while it lasts one
    mail at most is out that was claimed since it began.
    """

    mails = 12

    def __init__(self, store: Store) -> None:
        super().__init__()
        store.connection.flushall()
        self.store = store
        enqueue(store, *(f"job-{number:02}" for number in range(self.mails)))
        self.in_hand: dict[str, Job] = {}
        self.probes: set[str] = set()
        self.done: set[str] = set()
        self.away = False

    @rule(room=st.integers(1, 4))
    def claim_some(self, room: int) -> None:
        jobs = take(self.store, room=room)
        self.in_hand |= {job.id: job for job in jobs}
        if self.away:
            assert len(jobs) <= 1
            self.probes |= {job.id for job in jobs}

    @precondition(lambda self: self.in_hand)
    @rule(pick=st.integers(0, 100))
    def meet_the_outage(self, pick: int) -> None:
        job = self.hand_over(pick)
        [settled] = settle_for(self.store, "wait", job)
        assert (settled is Settled.OUTAGE_BEGAN) is not self.away
        self.away = True

    @precondition(lambda self: self.in_hand)
    @rule(pick=st.integers(0, 100))
    def be_sent(self, pick: int) -> None:
        job = self.hand_over(pick)
        probe = self.away and job.id in self.probes
        [settled] = settle_for(self.store, "sent", job, reached=True)
        assert (settled is Settled.OUTAGE_ENDED) is probe
        self.done.add(job.id)
        if probe:
            self.away = False
            self.probes.clear()

    @precondition(lambda self: self.in_hand)
    @rule(pick=st.integers(0, 100))
    def go_back(self, pick: int) -> None:
        assert settle_for(self.store, "back", self.hand_over(pick)) == [Settled.WRITTEN]

    @precondition(lambda self: self.away)
    @rule()
    def let_time_pass(self) -> None:
        let_the_next_probe_come(self.store.connection)

    def hand_over(self, pick: int) -> Job:
        names = sorted(self.in_hand)
        return self.in_hand.pop(names[pick % len(names)])

    @invariant()
    def all_is_in_order(self) -> None:
        waits = waiting(self.store.connection)
        assert waits == sorted(waits)
        assert sorted([*waits, *self.in_hand, *self.done]) == [f"job-{number:02}" for number in range(self.mails)]
        assert len(self.probes & self.in_hand.keys()) <= 1
        assert bool(get_outages(self.store)) is self.away
        assert not any(job.charged() for job in self.in_hand.values())


def test_an_outage_keeps_order_and_mails_whatever_happens_in_which_order(store: Store) -> None:
    limits = examples(max_examples=60, stateful_step_count=30, deadline=None)

    run_state_machine_as_test(lambda: Outages(store), settings=limits)  # type: ignore[arg-type]  # any factory will do


# Domains that ask us to go slower

SICK = "sick.example"


def enqueue_sick(store: Store, *ids: str, **fields: Any) -> None:
    enqueue(store, *ids, domain=SICK, **fields)


def slow(store: Store, *jobs: Job, **fields: Any) -> None:
    settle_for(store, "throttle", *jobs, reached=True, **fields)


def let_the_next_try_come(valkey: Redis) -> None:
    valkey.zadd(THROTTLED, {SICK: 1.0}, xx=True)


def test_mails_of_a_throttled_domain_wait_uncharged_without_a_token_while_others_go_on(
    store: Store, valkey: Redis
) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    enqueue(store, "a", "b", domain="well.example")
    slow(store, *claim(store, room=1))

    answer = ask(store, room=2, interval=1_000_000, burst=2)

    assert [job.id for job in answer.jobs] == ["a", "b"]
    assert scheduled(valkey) == ["s1", "s2", "s3"]
    assert counters(valkey, "normal:throttled", "normal:retried") == {"normal:throttled": 1, "normal:retried": 0}
    assert list(store.counts().throttled) == [SICK]
    empty = ask(store)
    assert empty.jobs == []
    assert 3.5 < empty.wait <= 5, "until the domain's next try"


def test_one_mail_of_a_throttled_domain_is_tried_in_each_interval_and_each_in_turn(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    slow(store, *claim(store, room=1))
    claim(store)
    tried = []

    for _ in range(4):
        let_the_next_try_come(valkey)
        jobs = [*claim(store), *claim(store)]
        slow(store, *jobs)
        tried.append([job.id for job in jobs])

    assert tried == [["s1"], ["s2"], ["s3"], ["s1"]]


@pytest.mark.parametrize(("dice", "share"), [(0.0, 1.0), (1.0, 0.75)], ids=["longest", "shortest"])
def test_the_wait_of_a_domain_doubles_up_to_a_quarter_of_an_hour(
    store: Store, valkey: Redis, dice: float, share: float
) -> None:
    enqueue_sick(store, "s1", "s2")
    waits = []

    for _ in range(10):
        slow(store, *claim(store, room=1), dice=dice)
        waits.append(float(valkey.zscore(THROTTLED, SICK) or 0) - redis_time(valkey) / 1e6)
        let_the_next_try_come(valkey)

    steps = [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert waits == pytest.approx([step * share for step in steps], abs=0.5)


def test_what_was_on_its_way_when_its_domain_was_throttled_does_not_slow_it_more(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")

    slow(store, *claim(store, room=3))

    assert valkey.hget(f"emailqueue:throttled:{SICK}", "step") == b"5"
    assert sorted(scheduled(valkey)) == ["s1", "s2", "s3"]


@pytest.mark.parametrize("verb", ["sent", "dead", "retry"])
def test_an_answer_of_the_domain_brings_its_mails_back_in_their_order(store: Store, valkey: Redis, verb: str) -> None:
    enqueue_sick(store, *(f"s{number:03}" for number in range(700)))
    enqueue(store, "a", domain="well.example")
    slow(store, *claim(store, room=3))
    assert claimed(store, room=1) == [], "no more than some hundred are put aside in one claim"
    assert claimed(store, room=1) == ["a"]
    for _ in range(2):
        let_the_next_try_come(valkey)
        slow(store, *claim(store))
    let_the_next_try_come(valkey)
    [probe] = claim(store)

    settle_for(store, verb, probe, reached=True, due=60.0)
    ids = [*claimed(store, room=200), *claimed(store, room=1000)]

    tried = {"s000", "s001", "s002"}
    assert probe.id in tried
    assert set(ids) == {f"s{number:03}" for number in range(700)} - {probe.id}
    assert [job_id for job_id in ids if job_id not in tried] == [f"s{number:03}" for number in range(3, 700)]
    assert store.counts().throttled == {}
    assert valkey.keys("emailqueue:throttled*") == valkey.keys("emailqueue:parked*") == []


def test_a_try_that_ended_without_a_word_to_the_domain_is_followed_by_another_at_once(
    store: Store, valkey: Redis
) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    slow(store, *claim(store, room=1))
    claim(store)
    let_the_next_try_come(valkey)

    settle_for(store, "dead", *claim(store))

    assert claimed(store) == ["s2"]


def test_a_try_that_dies_with_its_worker_is_made_again(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2")
    slow(store, *claim(store, room=1))
    claim(store)
    let_the_next_try_come(valkey)
    [died] = claim(store, lease=0)

    [again] = claim(store)

    assert (died.id, again.id, again.crashes) == ("s1", "s1", 1)


def test_only_one_try_waits_while_its_queue_is_paused(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    enqueue(store, "later", due="+60", queue="high")
    slow(store, *claim(store, room=1))
    claim(store)
    pause("normal")

    for _ in range(3):
        let_the_next_try_come(valkey)
        ask(store)

    assert waiting(valkey) == ["s1"]


def test_a_waiting_mail_of_a_throttled_domain_can_be_cancelled_and_moved(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    slow(store, *claim(store, room=1))
    claim(store)

    changed = store.cancel("s1"), store.reschedule("s2", "+60")
    let_the_next_try_come(valkey)

    assert changed == (True, True)
    assert claimed(store) == ["s3"]
    assert scheduled(valkey) == ["s2"]


def test_a_mail_without_a_domain_that_is_throttled_waits_alone(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b")

    slow(store, *claim(store, room=1))

    assert claimed(store) == ["b"]
    assert scheduled(valkey) == ["a"]


def test_should_the_line_of_a_domain_be_lost_its_mails_come_back_by_the_schedule(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2")
    slow(store, *claim(store, room=1))
    claim(store)
    assert 3500 < float(valkey.zscore("rq:scheduled:normal", "s2") or 0) - time.time() <= 3600
    valkey.delete(f"emailqueue:parked:{SICK}", THROTTLED)
    valkey.zadd("rq:scheduled:normal", {"s1": 1.0, "s2": 1.0})

    assert claimed(store) == ["s1", "s2"]


def test_throttled_domains_cost_one_command_where_there_are_none(store: Store) -> None:
    enqueue(store, *(f"a{number}" for number in range(20)))
    without = commands_of_a_claim(store, room=5)
    store.connection.flushall()
    enqueue(store, *(f"a{number}" for number in range(20)), domain="well.example")

    with_domains = commands_of_a_claim(store, room=5)

    assert sum(with_domains.values()) == sum(without.values()) + 1


class SlowedDomain(RuleBasedStateMachine):
    """
    Mails of a domain that asks us to go slower, between those of another that does not.

    The model: none is lost or charged, each waits at one place, after the first refusal one is tried in
    each interval, and what comes back comes in its order.
    """

    mails = 16

    def __init__(self, store: Store) -> None:
        super().__init__()
        store.connection.flushall()
        self.store = store
        self.sick = [f"job-{number:02}" for number in range(0, self.mails, 2)]
        for number in range(self.mails):
            domain = SICK if number % 2 == 0 else "well.example"
            enqueue(store, f"job-{number:02}", domain=domain)
        self.in_hand: dict[str, Job] = {}
        self.done: set[str] = set()
        self.throttled = False
        self.probes: set[str] = set()
        self.tries = 0

    @rule(room=st.integers(1, 5))
    def claim_some(self, room: int) -> None:
        jobs = claim(self.store, room=room)
        self.in_hand |= {job.id: job for job in jobs}
        sick = {job.id for job in jobs if job.id in self.sick}
        if self.throttled:
            assert len(sick) <= self.tries, "one in each interval"
            self.tries -= len(sick)
            self.probes |= sick

    @precondition(lambda self: any(job_id in self.sick for job_id in self.in_hand))
    @rule(pick=st.integers(0, 100))
    def be_refused(self, pick: int) -> None:
        job = self.hand_over([job_id for job_id in sorted(self.in_hand) if job_id in self.sick], pick)
        slow(self.store, job)
        if not self.throttled:
            self.throttled, self.tries, self.probes = True, 0, set()
        self.probes.discard(job.id)

    @precondition(lambda self: self.in_hand)
    @rule(pick=st.integers(0, 100))
    def be_sent(self, pick: int) -> None:
        job = self.hand_over(sorted(self.in_hand), pick)
        settle_for(self.store, "sent", job, reached=True)
        self.done.add(job.id)
        if job.id in self.probes:
            self.throttled, self.probes = False, set()

    @precondition(lambda self: self.throttled and not self.probes and self.tries == 0)
    @rule()
    def let_time_pass(self) -> None:
        let_the_next_try_come(self.store.connection)
        # Without a mail in its line, the domain is free to be tried with whatever comes.
        if self.store.connection.llen(f"emailqueue:parked:{SICK}"):
            self.tries = 1
        else:
            self.throttled = False

    def hand_over(self, names: list[str], pick: int) -> Job:
        return self.in_hand.pop(names[pick % len(names)])

    @invariant()
    def each_mail_is_at_one_place(self) -> None:
        valkey = self.store.connection
        waits = waiting(valkey)
        assert waits == sorted(waits)
        everywhere = sorted([*waits, *scheduled(valkey), *self.in_hand, *self.done])
        assert everywhere == [f"job-{number:02}" for number in range(self.mails)]
        assert set(scheduled(valkey)) <= set(self.sick)
        assert not any(job.charged() for job in self.in_hand.values())


def test_a_throttled_domain_keeps_its_mails_whatever_happens_in_which_order(store: Store) -> None:
    limits = examples(max_examples=60, stateful_step_count=40, deadline=None)

    run_state_machine_as_test(lambda: SlowedDomain(store), settings=limits)  # type: ignore[arg-type]  # see above


# Age


def test_a_claim_says_by_the_clock_of_redis_how_long_a_mail_has_waited(store: Store) -> None:
    an_hour_ago = timestamp(datetime.now(UTC) - timedelta(hours=1))
    enqueue(store, "a", created_at=an_hour_ago)
    enqueue(store, "b", created_at=an_hour_ago, due=f"{time.time() - 60:.6f}")
    enqueue(store, "c", created_at=an_hour_ago)
    store.reschedule("c", "1.0")

    waits = [job.waited() for job in claim(store, now="1970-01-01T00:00:00.000000Z")]

    assert waits == pytest.approx([3600, 60, 0], abs=2)


# Schedule


def test_a_hundred_thousand_scheduled_mails_cost_an_idle_worker_no_command_more_than_one(
    store: Store, valkey: Redis
) -> None:
    in_an_hour = time.time() + 3600
    valkey.zadd("rq:scheduled:low", {"mail-0": in_an_hour})
    one = commands_of_a_claim(store)
    for first in range(0, 100_000, 10_000):
        valkey.zadd(
            "rq:scheduled:low", {f"mail-{number}": in_an_hour + number for number in range(first, first + 10_000)}
        )

    many = commands_of_a_claim(store)

    assert valkey.zcard("rq:scheduled:low") == 100_000
    assert many == one


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00.000000Z", "2099-12-31T23:59:59.000000Z"])
def test_the_clock_of_a_worker_changes_nothing(store: Store, valkey: Redis, clock: str) -> None:
    enqueue(store, "due", due="+0.05")
    enqueue(store, "later", due="+60")
    enqueue(store, "a", "b")
    limit = {"interval": 40_000, "burst": 1}

    first, second = ask(store, now=clock, **limit), ask(store, now=clock, **limit)
    time.sleep(0.1)
    third = ask(store, now=clock, **limit)

    assert [[job.id for job in answer.jobs] for answer in (first, second, third)] == [["a"], [], ["b"]]
    assert 0 < second.wait <= 0.05
    assert waiting(valkey) == ["due"]
    assert scheduled(valkey) == ["later"]
    assert abs(float(valkey.zscore("emailqueue:leases", "b") or 0) - time.time() - 15) < 1


# What an idle worker costs


def commands_of_a_claim(store: Store, **asked: Any) -> Mapping[str, int]:
    ask(store, **asked)
    store.connection.config_resetstat()
    ask(store, **asked)
    return commands(store.connection)


def test_an_idle_claim_costs_four_commands(store: Store) -> None:
    calls = commands_of_a_claim(store)

    assert sum(calls.values()) <= 4, calls


@pytest.mark.parametrize("written", ["", "fast", "20"])
def test_what_a_stranger_wrote_as_limit_is_no_limit_of_staff(store: Store, valkey: Redis, written: str) -> None:
    valkey.hset(FLOW, "limit", written)
    enqueue(store, "a", "b")

    ids = claimed(store, interval=60_000_000)

    assert ids == ["a"]
