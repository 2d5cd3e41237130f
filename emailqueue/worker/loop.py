"""
The life of a worker, round by round.

1. Claim: one script hands out the next jobs and says how long to wait for more.
2. Run: the jobs go to the threads; each renders, asks for its fence and speaks to the mail server.
3. Settle: what came of them is written in one script, several at a time.
4. Renew: every few seconds the leases of all jobs in hand are prolonged.
5. Stop: nothing new is claimed, jobs that wait for a thread go back to the head, running ones end.

One thread, the main one, does all of this and waits on one in-process queue, so that nothing can block a signal
or a renewal for longer than a Redis call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from redis import Redis, RedisError

from emailqueue.conf import Settings
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.ends import End
from emailqueue.jobs.job import Job, timestamp
from emailqueue.jobs.outcome import BACK
from emailqueue.jobs.priority import EMAIL_QUEUES, EVENT_QUEUE, QUEUES
from emailqueue.redis import revive
from emailqueue.store import ClaimRequest, Counts, Settled, Settlement, Store
from emailqueue.worker.fence import Fencer
from emailqueue.worker.heartbeat import Heartbeat
from emailqueue.worker.listener import Listener, Woken
from emailqueue.worker.outage import server_name
from emailqueue.worker.settlement import after_run, before_run
from emailqueue.worker.thread import Ended, Work, WorkerThread

logger = logging.getLogger("emailqueue.worker")

AHEAD = 0.05
"""Seconds of work that may be claimed ahead: a critical mail shall be next in truth."""
SETTLE_WITHIN = 0.005
"""Seconds that a finished job waits for others to be settled with it."""
SETTLE_AT_MOST = 100
"""Jobs that are settled in one call."""
GRACE = 10.0
"""Seconds that a job gets to end after its connection was broken, before its worker gives up."""
MAX_HANDS = 200
"""Jobs that one worker holds at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Asks a worker to end."""

    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a worker ends by itself; None: never."""

    burst: bool = False
    """End when nothing waits any more."""

    max_jobs: int | None = None
    max_idle_time: float | None = None
    """Seconds without a job."""


class Rounds:
    """A running worker. `run()` returns when it has ended, with whether every job was settled."""

    def __init__(
        self,
        connection: Redis,
        *,
        listening: Redis,
        settings: Settings,
        name: str,
        queues: list[str],
        ttl: int,
        limits: Limits,
        on_inbox: Callable[[], None],
        on_sent: Callable[[list[str]], None],
        on_figures: Callable[[Counts], None],
        on_outage: Callable[[Settled, Settlement], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = Store(connection)
        self._settings, self._name, self._ttl, self._limits = settings, name, ttl, limits
        self._mail_queues = [queue for queue in EMAIL_QUEUES if queue in queues]
        self._events = EVENT_QUEUE if EVENT_QUEUE in queues else ""
        self._on_inbox, self._on_sent, self._on_figures, self._on_outage = on_inbox, on_sent, on_figures, on_outage
        self._clock = clock
        self._server = server_name(settings)
        self._heartbeat = Heartbeat(settings.heartbeat_file, worker=name, clock=clock)

        self.inbox: SimpleQueue[Ended | Woken | Stop] = SimpleQueue()
        self._work = Work()
        self._fencer = Fencer(self._store)
        self._listener = Listener(listening, self.inbox)
        self._threads = [
            WorkerThread(
                number, work=self._work, inbox=self.inbox, fencer=self._fencer, store=self._store, settings=settings
            )
            for number in range(settings.concurrency)
        ]
        self._held: dict[str, Job] = {}
        """Jobs that are claimed and not settled, by lease."""
        self._ended: list[Settlement] = []
        """Jobs that have run and wait to be settled."""
        self._ended_at = 0.0
        self._pace = float("inf")
        """Seconds that a mail takes, on the average."""
        self._next_claim = self._next_renewal = self._next_figures = self._redis_again = 0.0
        self._alone = self._stopping = self._drained = self._redis_failed = False
        self.jobs_done = 0
        self._idle_since = clock()

    def run(self) -> bool:
        """Work until stopped; see the module's docstring."""
        for thread in (self._fencer, self._listener, *self._threads):
            thread.start()
        while not (self._stopping and not self._held) and not self._stuck() and not self._drained:
            self._receive()
            self._heartbeat.beat()
            if self._clock() < self._redis_again:
                continue
            try:
                self._round()
            except (RedisError, RedisUnavailable, OSError) as error:
                self._redis_is_away(error)
            else:
                self._redis_is_back()
        clean = not self._held
        self._end()
        return clean

    def _round(self) -> None:
        if self._ended and self._settling_is_due():
            self._settle()
        now = self._clock()
        if self._held and now >= self._next_renewal:
            self._renew()
        if self._stopping:
            return
        if now >= self._next_figures or (now >= self._next_claim and self._room() > 0):
            self._claim()

    # Receive

    def _receive(self) -> None:
        try:
            self._take(self.inbox.get(timeout=max(0.0, self._wait())))
            while True:
                self._take(self.inbox.get_nowait())
        except Empty:
            pass
        self._break_overdue()

    def _wait(self) -> float:
        now = self._clock()
        moments = [self._next_figures, now + 60.0]
        if self._room() > 0:
            moments.append(self._next_claim)
        if self._held:
            moments += [self._next_renewal, now + 1.0]  # each second for the deadlines
        if self._ended:
            moments.append(now if self._settling_is_due() else self._ended_at + SETTLE_WITHIN)
        if self._stopping and not self._held:
            return 0.0
        return min(max(min(moments), self._redis_again), self._heartbeat.next) - now

    def _take(self, message: Ended | Woken | Stop) -> None:
        match message:
            case Ended():
                self._has_run(message)
            case Woken():
                if self._room() > 0 and not self._stopping:
                    self._next_claim = 0.0
                else:  # meant for a worker that has a hand free
                    self._pass_on()
            case Stop(force=force):
                self._stop(force=force)

    def _has_run(self, ended: Ended) -> None:
        if ended.job.queue != EVENT_QUEUE and ended.outcome.end is End.SENT:
            self._pace = ended.seconds if self._pace == float("inf") else 0.9 * self._pace + 0.1 * ended.seconds
        if ended.outcome is not BACK:
            self.jobs_done += 1
            self._log(ended)
        settlement = after_run(ended.job, ended.outcome, self._settings, worker=self._name, seconds=ended.seconds)
        if settlement is None:
            self._held.pop(_lease(ended.job), None)
        else:
            self._to_settle(settlement)

    def _pass_on(self) -> None:
        with suppress(RedisError, OSError):
            self._store.wake()

    # Claim

    def _room(self) -> int:
        if self._stopping or (self._alone and self._held):
            return 0
        ahead = int(len(self._threads) * AHEAD / self._pace) if self._pace else MAX_HANDS
        room = min(len(self._threads) + ahead, MAX_HANDS) - len(self._held)
        if self._limits.max_jobs is not None:
            room = min(room, self._limits.max_jobs - self.jobs_done - len(self._held))
        return room

    def _event_room(self) -> int:
        most = max(1, len(self._threads) // 2) if self._mail_queues else len(self._threads)
        return most - sum(job.queue == EVENT_QUEUE for job in self._held.values())

    def _claim(self) -> None:
        settings, now = self._settings, self._clock()
        figures = now >= self._next_figures
        claim = self._store.claim(
            ClaimRequest(
                worker=self._name,
                ttl=self._ttl,
                state=("busy" if self._held else "idle") if figures else "",
                server=self._server,
                queues=self._mail_queues,
                events=self._events,
                room=max(0, self._room()),
                event_room=max(0, self._event_room()),
                in_hand=len(self._held),
                lease=settings.lease,
                interval=1_000_000 / settings.rate_limit if settings.rate_limit else 0,
                burst=settings.tokens_at_once,
                fair=round(settings.fair_share * 1_000_000),
                idle=settings.idle_interval * 1000,
                figures=figures,
            )
        )
        if claim.figures is not None:
            self._next_figures = now + settings.stats_interval
            self._on_figures(claim.figures)
        if claim.inbox:
            self._on_inbox()
        self._alone = claim.alone
        if claim.jobs:
            self._next_renewal = (
                min(self._next_renewal, now + settings.lease / 3) if self._held else now + settings.lease / 3
            )
            self._idle_since = self._clock()
        for job in claim.jobs:
            self._held[_lease(job)] = job
            if settlement := before_run(job, settings, worker=self._name):
                self._to_settle(settlement)
            else:
                self._work.put(job)
        more = self._room() <= 0 or claim.alone
        patience = claim.wait if self._limits.max_idle_time is None else min(claim.wait, self._limits.max_idle_time)
        self._next_claim = 0.0 if more else self._clock() + patience
        self._listener.listen(wanted=self._room() > 0)
        if not claim.jobs and not self._held:
            self._maybe_drained(waits=claim.left or claim.alone)

    def _maybe_drained(self, *, waits: bool) -> None:
        idle = self._clock() - self._idle_since
        most = self._limits.max_idle_time
        self._drained = (self._limits.burst and not waits) or (most is not None and idle >= most)

    # Settle and renew

    def _to_settle(self, settlement: Settlement) -> None:
        if not self._ended:
            self._ended_at = self._clock()
        if settlement.is_outage:  # at once, before the next claim: others would run into the same outage
            self._ended_at = float("-inf")
        self._ended.append(settlement)

    def _settling_is_due(self) -> bool:
        return (
            len(self._ended) >= len(self._held)  # nothing else is running: nothing to wait for
            or len(self._ended) >= SETTLE_AT_MOST
            or self._clock() - self._ended_at >= SETTLE_WITHIN
        )

    def _settle(self) -> None:
        batch = self._ended[:SETTLE_AT_MOST]
        settled = self._store.settle(
            batch, worker=self._name, now=timestamp(), keep=self._settings.keep_sent, server=self._server
        )
        # Only now: a batch whose call failed is settled again, which changes nothing twice.
        del self._ended[: len(batch)]
        done = zip(batch, settled, strict=True)
        self._on_sent([settlement.job.id for settlement, changed in done if changed and settlement.verb == "sent"])
        for settlement, changed in zip(batch, settled, strict=True):
            self._held.pop(_lease(settlement.job), None)
            if not changed:
                logger.warning("lease was lost", extra={"job_id": settlement.job.id, "verb": settlement.verb})
            elif settlement.verb in ("retry", "wait", "throttle", "back") or settlement.staged:
                self._next_claim = min(self._next_claim, self._clock() + settlement.due)
            elif settlement.verb == "dead" or (settlement.verb == "sent" and settlement.job.dead_letter):
                self._on_inbox()
            if changed > Settled.WRITTEN:
                self._on_outage(changed, settlement)
                self._next_claim = 0.0
        if not self._held:
            self._next_claim = 0.0 if self._alone or self._limits.burst else self._next_claim
            self._drained = self._limits.max_jobs is not None and self.jobs_done >= self._limits.max_jobs

    def _renew(self) -> None:
        jobs = list(self._held.values())
        renewed = self._store.renew(jobs, lease=self._settings.lease)
        self._next_renewal = self._clock() + self._settings.lease / 3
        lost = [job.id for job, kept in zip(jobs, renewed, strict=True) if not kept]
        if lost:
            # They run on: the fence will say no, or what was sent already wins.
            logger.warning("leases were lost", extra={"job_ids": ",".join(lost)})

    # Faults and the end

    def _redis_is_away(self, error: Exception) -> None:
        if not self._redis_failed:
            logger.error("redis is away, waiting for it", extra={"error": str(error)})
        self._redis_failed = True
        self._redis_again = self._clock() + 0.5
        self._next_claim = 0.0
        with suppress(RedisUnavailable, OSError):
            revive()

    def _redis_is_back(self) -> None:
        if self._redis_failed:
            self._redis_failed = False
            logger.info("redis is back")

    def _break_overdue(self) -> None:
        now = self._clock()
        for thread in self._threads:
            running = thread.running
            if running is not None and now - running[1] > self._settings.job_timeout:
                thread.abort()

    def _stuck(self) -> bool:
        """Whether all that is left to wait for are jobs that do not end although their connection was broken."""
        now = self._clock()
        patience = self._settings.job_timeout + GRACE
        running = [thread.running for thread in self._threads]
        stuck = {_lease(job) for job, began in filter(None, running) if now - began > patience}
        if stuck and not self._stopping:
            logger.critical("a job does not end, the worker gives up", extra={"job_ids": ",".join(sorted(stuck))})
            self._stop(force=False)
        return bool(stuck) and stuck >= set(self._held)

    def _stop(self, *, force: bool) -> None:
        if force:
            self._drained = True
        self._stopping = True
        self._listener.stop()
        for job in self._work.withdraw(QUEUES):
            self._to_settle(Settlement(job=job, verb="back"))

    def _end(self) -> None:
        self._listener.stop()
        for _thread in self._threads:
            self._work.end()
        if not self._held:
            until = self._clock() + GRACE  # for all of them together: each may wait for a mail server that hangs
            for thread in self._threads:
                thread.join(timeout=max(0.0, until - self._clock()))
        self._fencer.stop()
        self._pass_on()  # a wake-up that this worker took with it
        self._heartbeat.end()

    def _log(self, ended: Ended) -> None:
        outcome, job = ended.outcome, ended.job
        extra: dict[str, Any] = {
            "job_id": job.id,
            "label": job.label,
            "queue": job.queue,
            "attempt": job.charged() + 1,
            "ms": round(ended.seconds * 1000),
        }
        if outcome.failure is not None:
            extra |= {"error": outcome.failure.error_class, "phase": outcome.failure.phase}
            extra["smtp_code"] = outcome.failure.smtp_code
        level = logging.INFO if outcome.failure is None else logging.WARNING
        word = "done" if outcome.end is End.SENT and job.counted_in() == EVENT_QUEUE else outcome.end.value
        logger.log(level, "%s", word, extra=extra)


def _lease(job: Job) -> str:
    return f"{job.id}:{job.token}"
