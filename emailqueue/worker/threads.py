"""The threads of a worker, and the jobs that wait for one: each runs one at a time and reports what came of it."""

import logging
import threading
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from queue import Empty, PriorityQueue, SimpleQueue
from typing import Any

from django.db import close_old_connections, connections

from emailqueue.conf import Settings
from emailqueue.delivery.smtp import Mailer
from emailqueue.jobs.ends import End
from emailqueue.jobs.job import Job
from emailqueue.jobs.outcome import BACK, Outcome
from emailqueue.jobs.priority import EMAIL_QUEUES, EVENT_QUEUE
from emailqueue.store import Store
from emailqueue.worker.attempt import attempt
from emailqueue.worker.fence import Fencer

logger = logging.getLogger("emailqueue.worker")

GRACE = 10.0
"""Seconds that a job gets to end after its connection was broken, before its worker gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a thread reports about a job."""

    job: Job
    outcome: Outcome
    seconds: float

    def log(self) -> None:
        """Write the line about the attempt."""
        failure, is_event = self.outcome.failure, self.job.counted_in() == EVENT_QUEUE
        extra: dict[str, Any] = {
            "job_id": self.job.id,
            "label": self.job.label,
            "queue": self.job.queue,
            "attempt": self.job.charged() + 1,
            "ms": round(self.seconds * 1000),
        }
        if failure:
            extra |= {"error": failure.error_class, "phase": failure.phase, "smtp_code": failure.smtp_code}
        word = "done" if self.outcome.end is End.SENT and is_event else self.outcome.end.value
        logger.log(logging.WARNING if failure else logging.INFO, "%s", word, extra=extra)


class Work:
    """The claimed jobs that wait for a thread: in the order of priority, as claims take them; then as they came."""

    def __init__(self) -> None:
        self._jobs: PriorityQueue[tuple[int, int, Job | None]] = PriorityQueue()
        self._numbers = count()

    def put(self, job: Job) -> None:
        """Add a job."""
        rank = 0 if job.fair else _ranks[job.queue]  # else more urgent ones would go before it without end
        self._jobs.put((rank, next(self._numbers), job))

    def end(self) -> None:
        """Have one thread end when no job waits any more."""
        self._jobs.put((len(_ranks), next(self._numbers), None))

    def get(self) -> Job | None:
        """Wait for the next job; None is the end."""
        return self._jobs.get()[2]

    def withdraw(self, queues: Container[str]) -> list[Job]:
        """Take back the jobs of these queues that wait."""
        withdrawn, others = [], []
        with suppress(Empty):
            while entry := self._jobs.get_nowait():
                if entry[2] is not None and entry[2].queue in queues:
                    withdrawn.append(entry[2])
                else:
                    others.append(entry)
        for entry in others:
            self._jobs.put(entry)
        return withdrawn


_ranks = {queue: rank for rank, queue in enumerate((EVENT_QUEUE, *EMAIL_QUEUES))}


class WorkerThread(threading.Thread):
    """Takes jobs from `work` until that ends, and reports to `inbox`. It is the Run that job functions see."""

    def __init__(
        self, number: int, *, work: Work, inbox: SimpleQueue[Any], fencer: Fencer, store: Store, settings: Settings
    ) -> None:
        super().__init__(name=f"worker-thread-{number}", daemon=True)
        self._work, self._inbox, self._fencer, self._store = work, inbox, fencer, store
        self._mailer = Mailer(settings)
        self.running: tuple[Job, float] | None = None
        """The job that runs now and when it began (time.monotonic)."""

    def run(self) -> None:
        """Run jobs until there are no more."""
        while (job := self._work.get()) is not None:
            began = time.monotonic()
            self.running = (job, began)
            outcome = self._attempt(job)
            self.running = None
            self._inbox.put(Ended(job=job, outcome=outcome, seconds=time.monotonic() - began))
            if outcome.end is End.WAIT:  # at once, and not by way of the main thread: each would try to connect
                for mail in self._work.withdraw(EMAIL_QUEUES):
                    self._inbox.put(Ended(job=mail, outcome=BACK, seconds=0.0))
        self._mailer.close()
        connections.close_all()

    def fence(self) -> bool:
        """Mark the running job as about to be sent. False: the lease is lost."""
        assert self.running is not None
        return self._fencer.ask(self.running[0])

    def mailer(self) -> Mailer:
        """Return this thread's connection to the mail server."""
        return self._mailer

    def _attempt(self, job: Job) -> Outcome:
        close_old_connections()
        try:
            return attempt(job, self, self._store)
        finally:
            close_old_connections()


class WorkerThreads:
    """As many threads as EMAIL_QUEUE["CONCURRENCY"] says. They report to `inbox`."""

    def __init__(
        self, settings: Settings, *, inbox: SimpleQueue[Any], store: Store, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._job_timeout, self._clock = settings.job_timeout, clock
        self.work, self._fencer = Work(), Fencer(store)
        self._threads = [
            WorkerThread(number, work=self.work, inbox=inbox, fencer=self._fencer, store=store, settings=settings)
            for number in range(settings.concurrency)
        ]

    def start(self) -> None:
        """Start all threads."""
        for thread in (self._fencer, *self._threads):
            thread.start()

    def abort_overdue(self) -> None:
        """Break the connections of jobs that have run for too long."""
        for thread, _job in self._running(self._job_timeout):
            thread.mailer().abort()

    def stuck(self) -> list[Job]:
        """Return the jobs that do not end although their connections were broken."""
        return [job for _thread, job in self._running(self._job_timeout + GRACE)]

    def end(self, *, wait: bool) -> None:
        """End all threads after the jobs that were put before; `wait`: until they have."""
        for _thread in self._threads:
            self.work.end()
        until = self._clock() + GRACE  # for all of them together: each may wait for a mail server that hangs
        for thread in self._threads if wait else ():
            thread.join(timeout=max(0.0, until - self._clock()))
        self._fencer.stop()

    def _running(self, seconds: float) -> list[tuple[WorkerThread, Job]]:
        """Return what has run for longer than `seconds`. A thread may end its job at any time, so it is asked once."""
        running = [(thread, thread.running) for thread in self._threads]
        long_ago = self._clock() - seconds
        return [(thread, now[0]) for thread, now in running if now and now[1] < long_ago]
