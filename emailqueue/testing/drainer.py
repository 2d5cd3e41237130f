"""A worker without threads and waits: it claims, runs and settles one job after the other, by the worker's own code."""

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
from emailqueue.store import THROTTLED, ClaimRequest, Settled, Settlement, Store, rq_key
from emailqueue.worker.attempt import attempt
from emailqueue.worker.settlement import after_run, before_run

NAME = "drain"
SERVER = "drain"
"""The mail server, whichever it is: one queue of a test has one."""
CAUGHT = (Exception, SystemExit)
"""What ends an attempt. The rest ends the test: Ctrl-C, and pytest's own."""
PROBES = 3
"""Times that one drain() asks again what was away, or a domain that asked for less mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What one drain() did."""

    sent: int = 0
    """Mails that the mail server took."""

    skipped: int = 0
    """Mails that did not go out, since their recipients get no mails of their types any more."""

    retries: int = 0
    """Attempts at mails or events that failed and were made again."""

    uncharged: int = 0
    """Times that a mail was put back uncharged: what it needs was away, or its domain asked for less mail."""

    events: int = 0
    """Jobs of events that ended well: one for each event, and one for each of its subscribers."""

    dead: list[DeadLetter] = field(default_factory=list)
    """The dead letters that came of it."""


class Drainer:
    """Runs what is due. It is the Run that job functions see."""

    def __init__(
        self,
        connection: Redis,
        *,
        backend: Callable[[Settings], BaseEmailBackend],
        commit: Callable[[], None],
        on_claim: Callable[[Job], None],
    ) -> None:
        """Deliver by what `backend` makes; `commit` is called whenever what was queued must have reached Redis."""
        self._connection, self._store = connection, Store(connection)
        self._settings = replace(get_settings(), rate_limit=0.0)
        self._mailer = Mailer(self._settings, connect=backend)
        self._commit, self._on_claim = commit, on_claim

    def drain(self, *, until: datetime | None) -> Drained:
        """Run what is due, and what is scheduled until then, without waiting; failed attempts are repeated at once."""
        settled: list[Settlement] = []
        probes = 0
        self._probe()
        try:
            while True:
                self._commit()
                self._make_due(charged=True)
                if job := self._claim():
                    settled.append(self._run(job))
                elif settled and _is_uncharged(settled[-1]) and probes < PROBES:
                    probes += 1
                    self._probe()
                elif until is None or not self._make_next_due(until):
                    return self._report(settled)
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
        self._on_claim(job)
        self._running = job
        settlement = before_run(job, self._settings, worker=NAME)
        if settlement is None:
            outcome = attempt(job, self, self._store, before_end=self._commit, caught=CAUGHT)
            if outcome is BACK:
                raise RuntimeError(f"Job {job.id} ({job.label}) could not run: the Redis of the tests failed it.")
            settlement = after_run(job, outcome, self._settings, worker=NAME, seconds=0.0)
        if settlement is None or self._settle(settlement) is Settled.LEASE_LOST:
            raise RuntimeError(f"Job {job.id} ({job.label}) was taken away while it ran.")
        return settlement

    def _settle(self, settlement: Settlement) -> Settled:
        keep = self._settings.keep_sent
        return self._store.settle([settlement], worker=NAME, now=timestamp(), keep=keep, server=SERVER)[0]

    def _report(self, settled: list[Settlement]) -> Drained:
        ended = [entry for entry in settled if entry.verb == "sent"]
        sent = [entry.job for entry in ended if not entry.skipped]
        mails = [job for job in sent if job.counted_in() != EVENT_QUEUE]
        if any(job.dead_letter for job in sent):
            close_redelivered(self._connection)
        if ended and self._settings.outbox == "always":
            OutboxRow.objects.forget([entry.job.id for entry in ended])
        return Drained(
            sent=len(mails),
            skipped=sum(entry.skipped for entry in settled),
            retries=sum(entry.verb == "retry" for entry in settled),
            uncharged=sum(map(_is_uncharged, settled)),
            events=len(sent) - len(mails),
            dead=self._dead_letters([entry.inbox_id for entry in settled if entry.verb == "dead"]),
        )

    def _dead_letters(self, ids: list[str]) -> list[DeadLetter]:
        if not ids:
            return []
        try:
            move_inbox(self._connection)
        except (AssertionError, RuntimeError) as error:  # as Django's SimpleTestCase and pytest-django refuse it
            raise RuntimeError(
                "A mail or an event became a dead letter, which is a row of the database, and this test may not use "
                "that. Mark it with pytest.mark.django_db, or use Django's TestCase."
            ) from error
        return list(DeadLetter.objects.filter(pk__in=ids).order_by("dead_lettered_at"))

    # The clock

    def _make_due(self, *, charged: bool) -> None:
        """Make the jobs due whose last attempt was charged, or was not; those whose domain waits stay."""
        for queue in QUEUES:
            waiting: Any = self._connection.zrange(rq_key("scheduled", queue), 0, -1)
            for job_id in waiting:
                fields: Any = self._connection.hmget(f"rq:job:{job_id.decode()}", ["history", "parked"])
                history, parked = fields
                if history and not parked and bool(json.loads(history)[-1]["charged"]) is charged:
                    self._connection.zadd(rq_key("scheduled", queue), {job_id: 0}, xx=True)

    def _make_next_due(self, until: datetime) -> bool:
        """Make the next scheduled job due, and return whether there was one."""
        firsts: list[tuple[float, str, bytes]] = []
        for queue in QUEUES:
            due: Any = self._connection.zrangebyscore(
                rq_key("scheduled", queue), "-inf", until.timestamp(), start=0, num=100, withscores=True
            )
            free = [(at, queue, job_id) for job_id, at in due if not self._is_parked(job_id)]
            firsts += free[:1]
        for _at, queue, job_id in sorted(firsts)[:1]:
            self._connection.zadd(rq_key("scheduled", queue), {job_id: 0}, xx=True)
        return bool(firsts)

    def _is_parked(self, job_id: bytes) -> bool:
        return bool(self._connection.hexists(f"rq:job:{job_id.decode()}", "parked"))

    def _probe(self) -> None:
        """Let a probe go to each mail server and each domain that mail waits for: a test waits for no time."""
        for name in self._store.flow():
            if name.startswith("outage:"):
                self._connection.hset(f"emailqueue:{name}", "next", "0")
        self._make_due(charged=False)
        domains: Any = self._connection.zrangebyscore(THROTTLED, "(0", "+inf")
        for domain in domains:
            self._connection.zadd(THROTTLED, {domain: 0.001}, xx=True)


def _is_uncharged(settlement: Settlement) -> bool:
    return settlement.verb in ("wait", "throttle")
