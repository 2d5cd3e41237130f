"""
The loop of a worker.

1. Claim: one script hands out the next jobs and says how long to wait for more.
2. Run: the jobs go to the threads; each renders, asks for its fence and speaks to the mail server.
3. Settle: what came of them is written in one script, several at a time.
4. Renew: every few seconds the leases of all claimed jobs are prolonged.
5. Stop: nothing new is claimed, jobs that wait for a thread go back to the head, running ones end.

One thread, the main one, does all of this and waits on one in-process queue, so that nothing can block a signal
or a renewal for longer than a Redis call.
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from redis import Redis, RedisError

from emailqueue.conf import Settings
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.ends import End
from emailqueue.jobs.job import timestamp
from emailqueue.jobs.outcome import BACK
from emailqueue.jobs.priority import EMAIL_QUEUES, EVENT_QUEUE, QUEUES
from emailqueue.redis import revive
from emailqueue.store import Claim, ClaimRequest, Counts, Settled, Settlement, Store
from emailqueue.worker.claimed import ClaimedJobs
from emailqueue.worker.heartbeat import Heartbeat
from emailqueue.worker.listener import Listener, Woken
from emailqueue.worker.outage import server_name
from emailqueue.worker.settlement import after_run, before_run
from emailqueue.worker.threads import Ended, WorkerThreads

logger = logging.getLogger("emailqueue.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Asks a worker to end."""

    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a worker ends by itself."""

    burst: bool = False
    """End when nothing waits any more."""

    max_jobs: float = math.inf
    max_idle_time: float = math.inf
    """Seconds without a job."""


class WorkerLoop:
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
        self._settings, self._limits, self._clock = settings, limits, clock
        self._on_inbox, self._on_sent, self._on_figures, self._on_outage = on_inbox, on_sent, on_figures, on_outage
        self._request = ClaimRequest(
            worker=name,
            ttl=ttl,
            server=server_name(settings),
            queues=[queue for queue in EMAIL_QUEUES if queue in queues],
            events=EVENT_QUEUE if EVENT_QUEUE in queues else "",
            lease=settings.lease,
            interval=1_000_000 / settings.rate_limit if settings.rate_limit else 0,
            burst=settings.tokens_at_once,
            fair=round(settings.fair_share * 1_000_000),
            idle=settings.idle_interval * 1000,
        )
        self.inbox: SimpleQueue[Ended | Woken | Stop] = SimpleQueue()
        self._listener = Listener(listening, self.inbox)
        self._threads = WorkerThreads(settings, inbox=self.inbox, store=self._store, clock=clock)
        self._claimed = ClaimedJobs(settings.concurrency, clock=clock)
        self._heartbeat = Heartbeat(settings.heartbeat_file, worker=name, clock=clock)
        self._next_claim = self._next_renewal = self._next_figures = self._redis_again = 0.0
        self._alone = self._stopping = self._drained = self._redis_failed = False
        self.jobs_done = 0
        self._idle_since = clock()

    def run(self) -> bool:
        """Work until stopped; see the module's docstring."""
        self._listener.start()
        self._threads.start()
        while not (self._stopping and not self._claimed) and not self._is_stuck() and not self._drained:
            self._receive()
            self._heartbeat.beat()
            if self._clock() < self._redis_again:
                continue
            try:
                self._ask_redis()
                self._redis_answers()
            except (RedisError, RedisUnavailable, OSError) as error:
                self._redis_is_away(error)
        self._end()
        return not self._claimed

    def _ask_redis(self) -> None:
        if self._clock() >= self._claimed.settle_at:
            self._settle()
        now = self._clock()
        if self._claimed and now >= self._next_renewal:
            self._renew()
        if not self._stopping and (now >= self._next_figures or (now >= self._next_claim and self._room() > 0)):
            self._claim(now, figures=now >= self._next_figures)

    # Receive

    def _receive(self) -> None:
        with suppress(Empty):
            self._heed(self.inbox.get(timeout=max(0.0, self._wait())))
            while True:
                self._heed(self.inbox.get_nowait())
        self._threads.abort_overdue()

    def _wait(self) -> float:
        now = self._clock()
        if self._stopping and not self._claimed:
            return 0.0
        moments = [self._next_figures, now + 60.0, self._claimed.settle_at]
        if self._room() > 0:
            moments.append(self._next_claim)
        if self._claimed:
            moments += [self._next_renewal, now + 1.0]  # each second for the deadlines
        return min(max(min(moments), self._redis_again), self._heartbeat.next) - now

    def _heed(self, message: Ended | Woken | Stop) -> None:
        match message:
            case Ended():
                self._has_run(message)
            case Woken():
                self._next_claim = 0.0
                if self._room() <= 0:  # meant for a worker that has room; this one looks as soon as it has
                    self._pass_on()
            case _:
                self._stop(message)

    def _has_run(self, ended: Ended) -> None:
        job, outcome = ended.job, ended.outcome
        if job.queue != EVENT_QUEUE and outcome.end is End.SENT:
            self._claimed.keep_pace(ended.seconds)
        if outcome is not BACK:
            self.jobs_done += 1
            ended.log()
        if settlement := after_run(job, outcome, self._settings, worker=self._request.worker, seconds=ended.seconds):
            self._claimed.to_settle(settlement)
        else:
            self._claimed.drop(job)

    def _pass_on(self) -> None:
        with suppress(RedisError, OSError):
            self._store.wake()

    # Claim

    def _room(self) -> int:
        if self._stopping or (self._alone and self._claimed):
            return 0
        return int(min(self._claimed.room(), self._limits.max_jobs - self.jobs_done - len(self._claimed)))

    def _claim(self, now: float, *, figures: bool) -> None:
        request = replace(
            self._request,
            now=timestamp(),
            state=("busy" if self._claimed else "idle") if figures else "",
            room=max(0, self._room()),
            event_room=max(0, self._claimed.event_room(beside_mail=bool(self._request.queues))),
            in_hand=len(self._claimed),
            figures=figures,
        )
        claim = self._store.claim(request)
        if claim.figures is not None:
            self._next_figures = now + self._settings.stats_interval
            self._on_figures(claim.figures)
        if claim.inbox:
            self._on_inbox()
        self._take(claim, now=now)

    def _take(self, claim: Claim, *, now: float) -> None:
        self._alone = claim.alone
        if claim.jobs:
            renewal = now + self._settings.lease / 3
            self._next_renewal = min(self._next_renewal, renewal) if self._claimed else renewal
            self._idle_since = self._clock()
        for job in claim.jobs:
            self._claimed.add(job)
            if settlement := before_run(job, self._settings, worker=self._request.worker):
                self._claimed.to_settle(settlement)
            else:
                self._threads.work.put(job)
        has_room = self._room() > 0
        self._listener.listen(wanted=has_room)
        patience = min(claim.wait, self._limits.max_idle_time)
        self._next_claim = self._clock() + patience if has_room and not claim.alone else 0.0
        if not claim.jobs and not self._claimed:
            nothing_waits, idle = not (claim.left or claim.alone), self._clock() - self._idle_since
            self._drained = (self._limits.burst and nothing_waits) or idle >= self._limits.max_idle_time

    # Settle and renew

    def _settle(self) -> None:
        batch, ask = self._claimed.batch(), self._request
        settled = self._store.settle(
            batch, worker=ask.worker, now=timestamp(), keep=self._settings.keep_sent, server=ask.server
        )
        self._claimed.written(batch)  # only now: a batch whose call failed is settled again
        done = list(zip(batch, settled, strict=True))
        self._on_sent([settlement.job.id for settlement, changed in done if changed and settlement.verb == "sent"])
        for settlement, changed in done:
            self._follow_up(settlement, changed)
        if not self._claimed:
            self._next_claim = 0.0 if self._alone or self._limits.burst else self._next_claim
            self._drained = self.jobs_done >= self._limits.max_jobs

    def _follow_up(self, settlement: Settlement, changed: Settled) -> None:
        verb, job = settlement.verb, settlement.job
        if not changed:
            logger.warning("lease was lost", extra={"job_id": job.id, "verb": verb})
        elif verb in ("retry", "wait", "throttle", "back") or settlement.staged:
            self._next_claim = min(self._next_claim, self._clock() + settlement.due)
        elif verb == "dead" or (verb == "sent" and job.dead_letter):
            self._on_inbox()
        if changed > Settled.WRITTEN:
            self._on_outage(changed, settlement)
            self._next_claim = 0.0

    def _renew(self) -> None:
        jobs = list(self._claimed)
        renewed = self._store.renew(jobs, lease=self._settings.lease)
        self._next_renewal = self._clock() + self._settings.lease / 3
        if lost := [job.id for job, kept in zip(jobs, renewed, strict=True) if not kept]:
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

    def _redis_answers(self) -> None:
        if self._redis_failed:
            logger.info("redis is back")
        self._redis_failed = False

    def _is_stuck(self) -> bool:
        """Whether all that is left to wait for are jobs that do not end although their connection was broken."""
        stuck = self._threads.stuck()
        if stuck and not self._stopping:
            ids = ",".join(sorted(job.id for job in stuck))
            logger.critical("a job does not end, the worker gives up", extra={"job_ids": ids})
            self._stop(Stop())
        return bool(stuck) and self._claimed.are_among(stuck)

    def _stop(self, stop: Stop) -> None:
        self._drained = self._drained or stop.force
        self._stopping = True
        self._listener.stop()
        for job in self._threads.work.withdraw(QUEUES):
            self._claimed.to_settle(Settlement(job=job, verb="back"))

    def _end(self) -> None:
        self._listener.stop()
        self._threads.end(wait=not self._claimed)
        self._pass_on()  # a wake-up that this worker took with it
        self._heartbeat.end()
