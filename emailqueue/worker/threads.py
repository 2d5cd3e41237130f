"""The threads of a worker together, and the jobs that wait for one."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from emailqueue.conf import Settings
from emailqueue.jobs.job import Job
from emailqueue.store import Store
from emailqueue.worker.fence import Fencer
from emailqueue.worker.thread import Work, WorkerThread

GRACE = 10.0
"""Seconds that a job gets to end after its connection was broken, before its worker gives up."""


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
            thread.abort()

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
