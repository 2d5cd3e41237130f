"""An outage in random orders of events, held against a model."""

from __future__ import annotations

from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from emailqueue.jobs.job import Job
from emailqueue.store import Settled, Store
from tests.support.circuit import get_outages, let_the_next_probe_come, settle_for, take
from tests.support.scripts import enqueue, waiting


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
