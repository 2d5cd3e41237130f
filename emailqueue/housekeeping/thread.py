"""The thread of a worker that does the database: dead letters in, outbox out."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue

from django.db import DatabaseError, close_old_connections, connections
from redis import Redis, RedisError
from redis.exceptions import LockError

from emailqueue.conf import get_settings
from emailqueue.dead_letters import bulk
from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.enqueue.relay import relay
from emailqueue.housekeeping import alerts, attachments, inbox
from emailqueue.housekeeping.stock_workers import import_stock_worker_failures
from emailqueue.mail.attachments import KeptFiles
from emailqueue.models import DeadLetter
from emailqueue.models.database_report import explain
from emailqueue.store import Store

logger = logging.getLogger("emailqueue.worker")

INTERVAL = 5.0
"""Seconds between two looks at the outbox."""
IDLE_INTERVAL = 60.0
"""Seconds between two looks into Redis while nothing is known to be there: hosted ones bill each command."""
RETRIES_INTERVAL = 20.0
"""Seconds between two looks at dead letters that are being retried."""
SWEEP_INTERVAL = 60.0
"""Seconds between two looks at the files of attachments whose jobs may have ended."""
SWEEPING = "emailqueue:sweeping"
"""Lock of the worker that looks after the files."""
SWEEP_AT_MOST = 600.0
"""Seconds after which another worker may."""
LOST_INTERVAL = 6 * 3600.0
"""Seconds between two looks through the storage for files of which no row knows."""
BUSY = 1.0
"""Seconds between two looks while a bulk action runs."""


class Housekeeper(threading.Thread):
    """Looks after the tables every few seconds, and at once when poked."""

    def __init__(self, connection: Redis) -> None:
        super().__init__(name="housekeeper", daemon=True)
        self._connection, self._store = connection, Store(connection)
        self._rows_stay = get_settings().outbox == "always"
        self._poked = threading.Event()
        self._errands: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._sent: SimpleQueue[str] = SimpleQueue()
        self._next_idle = self._next_retries = self._next_sweep = self._next_lost = 0.0
        self._began = self._stopped = self._failing = self._bulk = False
        self.open_letters = 0
        """Dead letters that wait for staff, as last counted."""

    def poke(self) -> None:
        """Look now: there is a dead letter in the inbox, or the retry of one was sent."""
        self._poked.set()

    def forget(self, job_ids: Iterable[str]) -> None:
        """Delete the outbox rows of these jobs at the next look: they are sent."""
        if self._rows_stay:
            for job_id in job_ids:
                self._sent.put(job_id)

    def import_stock_worker_failures(self) -> None:
        """Look now: there is a failure of a stock worker in one of our queues."""
        self.run_errand(lambda: import_stock_worker_failures(self._connection))

    def run_errand(self, errand: Callable[[], object]) -> None:
        """Do something that may take its time, which the main thread has not."""
        self._errands.put(errand)
        self._poked.set()

    def stop(self) -> None:
        """End the thread after one more look, so that the last dead letters are in the database."""
        self._stopped = True
        self._poked.set()
        self.join(timeout=INTERVAL)

    def run(self) -> None:
        """Look after the tables until stopped."""
        while not self._stopped:
            self._look()
            if self._poked.wait(BUSY if self._bulk else INTERVAL) or self._failing:  # what failed may wait in Redis
                self._next_idle = 0.0
            self._poked.clear()
        self._look()
        connections.close_all()

    def _look(self) -> None:
        close_old_connections()
        try:
            self._do_chores()
            self._failing = False
        except Exception as error:  # noqa: BLE001  whatever it is: without this thread no dead letter is stored
            self._report(error)
            self._failing = True
        finally:
            close_old_connections()

    def _report(self, error: Exception) -> None:
        """Log the first of several failures. Nothing is lost: the inbox and the outbox keep what was not moved."""
        if not self._failing:
            foreseen = isinstance(error, DatabaseError | RedisError | OSError)
            text = explain(error) if isinstance(error, DatabaseError) else str(error).strip()
            logger.error("housekeeping waits", extra={"error": text}, exc_info=None if foreseen else error)

    def _do_chores(self) -> None:
        self._run_errands()
        if not self._began:
            self._store.outbox_state()  # from here on Redis remembers; see relay.py
            self._began = True
        self._look_into_redis()
        self._forget_sent()
        relay(self._store)
        self._push_retries()
        self.open_letters = DeadLetter.objects.open().count()
        self._bulk = False  # should it fail, the next look is not hurried
        self._bulk = not self._stopped and bulk.work()
        self._sweep()  # last: a storage that is away keeps nothing else from being done

    def _run_errands(self) -> None:
        with suppress(Empty):
            while True:
                self._errands.get_nowait()()

    def _look_into_redis(self) -> None:
        if time.monotonic() >= self._next_idle:
            inbox.move_inbox(self._connection)
            inbox.close_redelivered(self._connection)
            alerts.send_due(self._connection)
            self._next_idle = time.monotonic() + IDLE_INTERVAL

    def _forget_sent(self) -> None:
        while job_ids := [self._sent.get() for _ in range(min(self._sent.qsize(), 500))]:
            try:
                OutboxRow.objects.forget(job_ids)
            except DatabaseError:
                self.forget(job_ids)
                raise

    def _push_retries(self) -> None:
        if time.monotonic() >= self._next_retries:
            inbox.push_retries(self._store)
            self._next_retries = time.monotonic() + RETRIES_INTERVAL

    def _sweep(self) -> None:
        now = time.monotonic()
        if self._stopped or now < self._next_sweep:  # whoever stops it does not wait for a storage
            return
        self._next_sweep = now + SWEEP_INTERVAL
        if now < self._next_lost and not KeptFiles.objects.exists():
            return
        lock = self._connection.lock(SWEEPING, timeout=SWEEP_AT_MOST)
        if not lock.acquire(blocking=False):
            return
        try:
            attachments.sweep(self._store)
            if now >= self._next_lost:
                self._next_lost = now + LOST_INTERVAL
                attachments.sweep_lost()
        finally:
            with suppress(LockError):  # it has taken longer than the lock lasts
                lock.release()
