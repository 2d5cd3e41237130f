"""A slowed domain in random orders of events, held against a model."""

from __future__ import annotations

from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from emailqueue.jobs.job import Job
from emailqueue.store import Store
from tests.support.circuit import settle_for
from tests.support.domains import SICK, let_the_next_try_come, slow
from tests.support.scripts import claim, enqueue, scheduled, waiting


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
