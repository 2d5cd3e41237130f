"""A worker without threads and waits: it claims, runs and settles one job after the other, by the worker's own code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.core.mail.backends.base import BaseEmailBackend
from redis import Redis

from emailqueue.conf import Settings, get_settings
from emailqueue.delivery.smtp import Mailer
from emailqueue.housekeeping.inbox import close_redelivered, move_inbox
from emailqueue.jobs.job import Job, timestamp
from emailqueue.jobs.outcome import BACK
from emailqueue.jobs.priority import EVENT_QUEUE, QUEUES
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.store import THROTTLED, ClaimRequest, Settled, Settlement, Store
from emailqueue.worker.attempt import attempt
from emailqueue.worker.settlement import after_run, before_run

NAME = "drain"
SERVER = "drain"
"""The mail server, whichever it is: one queue of a test has one."""
CAUGHT = (Exception, SystemExit)
"""What ends an attempt. The rest ends the test: Ctrl-C, and pytest's own."""
PROBES = 3
"""Times that one drain() asks again what was away, or a domain that wanted mail to go slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What one drain() did."""

    sent: int = 0
    """Mails that the mail server took."""

    skipped: int = 0
    """Mails that did not go out, since their recipients get no mails of their types any more."""

    retries: int = 0
    """Attempts at mails or events that failed and were made again."""

    held: int = 0
    """Times that a mail was put back uncharged: what it needs was away, or its domain asked to go slower."""

    events: int = 0
    """Jobs of events that ended well: one for each event, and one for each of its subscribers."""

    dead: list[DeadLetter] = field(default_factory=list)
    """Letters of what died."""


@dataclass(slots=True, kw_only=True)
class Drainer:
    """Runs what is due. It is the Run that job functions see."""

    connection: Redis
    backend: Callable[[Settings], BaseEmailBackend]
    """Makes what delivers."""

    commit: Callable[[], None]
    """Called whenever what was queued shall have reached Redis."""

    on_claim: Callable[[Job], None]
    _store: Store = field(init=False)
    _settings: Settings = field(init=False)
    _mailer: Mailer = field(init=False)
    _running: Job = field(init=False)

    def drain(self, *, until: datetime | None) -> Drained:
        """Run what is due, and what is scheduled until then, without waiting; failed attempts are repeated at once."""
        self._store, self._settings = Store(self.connection), replace(get_settings(), rate_limit=0.0)
        self._mailer = Mailer(self._settings, connect=self.backend)
        self._try_again_what_is_held()
        settled: list[Settlement] = []
        probes = 0
        try:
            while True:
                self.commit()
                self._bring_retries_forward()
                if job := self._claim():
                    settled.append(self._run(job))
                elif settled and _is_held(settled[-1]) and probes < PROBES:
                    probes += 1
                    self._try_again_what_is_held()
                elif until is None or not self._bring_forward(until):
                    return self._told(settled)
        finally:
            self._mailer.close()

    # What job functions ask

    def fence(self) -> bool:
        """Mark the running job as about to be sent."""
        return self._store.fence([self._running])[0]

    def mailer(self) -> Mailer:
        """Return the way to the mail server."""
        return self._mailer

    # Claim, run, settle

    def _claim(self) -> Job | None:
        request = ClaimRequest(worker=NAME, server=SERVER, events=EVENT_QUEUE, event_room=1, lease=self._settings.lease)
        while True:
            claim = self._store.claim(request)
            if claim.jobs:
                return claim.jobs[0]
            if claim.wait:  # else there was too much to tidy up for one call
                return None

    def _run(self, job: Job) -> Settlement:
        self.on_claim(job)
        self._running = job
        settlement = before_run(job, self._settings, worker=NAME)
        if settlement is None:
            outcome = attempt(job, self, self._store, before_end=self.commit, caught=CAUGHT)
            if outcome is BACK:
                raise RuntimeError(f"Job {job.id} ({job.label}) could not run: the Redis of the tests failed it.")
            settlement = after_run(job, outcome, self._settings, worker=NAME, seconds=0.0)
        answer = (
            settlement
            and self._store.settle(
                [settlement],
                worker=NAME,
                now=timestamp(),
                keep=self._settings.keep_sent,
                server=SERVER,
            )[0]
        )
        if settlement is None or answer is Settled.LEASE_LOST:
            raise RuntimeError(f"Job {job.id} ({job.label}) was taken away while it ran.")
        return settlement

    def _told(self, settled: list[Settlement]) -> Drained:
        ended = [entry for entry in settled if entry.verb == "sent"]
        sent = [entry.job for entry in ended if not entry.skipped]
        mails = [job for job in sent if job.counted_in() != EVENT_QUEUE]
        deaths = [entry.death for entry in settled if entry.verb == "dead"]
        if deaths:
            self._store_letters()
        if any(job.dead_letter for job in sent):
            close_redelivered(self.connection)
        if ended and self._settings.outbox == "always":
            OutboxRow.objects.forget([entry.job.id for entry in ended])
        return Drained(
            sent=len(mails),
            skipped=sum(entry.skipped for entry in settled),
            retries=sum(entry.verb == "retry" for entry in settled),
            held=sum(map(_is_held, settled)),
            events=len(sent) - len(mails),
            dead=list(DeadLetter.objects.filter(pk__in=deaths).order_by("dead_lettered_at")) if deaths else [],
        )

    def _store_letters(self) -> None:
        try:
            move_inbox(self.connection)
        except (AssertionError, RuntimeError) as error:  # as Django's SimpleTestCase and pytest-django refuse it
            raise RuntimeError(
                "A mail or an event has died, and dead letters are rows of the database, which this test may not use. "
                "Mark it with pytest.mark.django_db, or use Django's TestCase."
            ) from error

    # The clock

    def _bring_retries_forward(self) -> None:
        for queue in QUEUES:
            for job_id in self._scheduled(queue):
                if self._last_charged(job_id):
                    self.connection.zadd(f"rq:scheduled:{queue}", {job_id: 0}, xx=True)

    def _bring_forward(self, until: datetime) -> bool:
        """Make the next scheduled job due, and return whether there was one."""
        firsts: list[tuple[float, str, bytes]] = []
        for queue in QUEUES:
            due: Any = self.connection.zrangebyscore(
                f"rq:scheduled:{queue}", "-inf", until.timestamp(), start=0, num=100, withscores=True
            )
            parked = [self.connection.hexists(f"rq:job:{job_id.decode()}", "parked") for job_id, _ in due]
            firsts += [(at, queue, job_id) for (job_id, at), out in zip(due, parked, strict=True) if not out][:1]
        if not firsts:
            return False
        _at, queue, job_id = min(firsts, key=lambda first: first[0])
        self.connection.zadd(f"rq:scheduled:{queue}", {job_id: 0}, xx=True)
        return True

    def _try_again_what_is_held(self) -> None:
        """Let a probe go to each mail server and each domain that holds mail: nobody waits for their time in a test."""
        for name in self._store.flow():
            if name.startswith("outage:"):
                self.connection.hset(f"emailqueue:{name}", "next", "0")
        for queue in QUEUES:
            for job_id in self._scheduled(queue):
                if self._last_charged(job_id) is False:
                    self.connection.zadd(f"rq:scheduled:{queue}", {job_id: 0}, xx=True)
        domains: Any = self.connection.zrangebyscore(THROTTLED, "(0", "+inf")
        for domain in domains:
            self.connection.zadd(THROTTLED, {domain: 0.001}, xx=True)

    def _last_charged(self, job_id: bytes) -> bool | None:
        """Return whether the last attempt of a scheduled job was charged; None: there was none, or its domain waits."""
        fields: Any = self.connection.hmget(f"rq:job:{job_id.decode()}", ["history", "parked"])
        history, parked = fields
        return None if parked or not history else bool(json.loads(history)[-1]["charged"])

    def _scheduled(self, queue: str) -> list[bytes]:
        found: Any = self.connection.zrange(f"rq:scheduled:{queue}", 0, -1)
        return list(found)


def _is_held(settlement: Settlement) -> bool:
    """Return whether a mail went back uncharged."""
    return settlement.verb in ("wait", "throttle")
