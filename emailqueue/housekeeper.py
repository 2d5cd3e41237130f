"""The thread of a worker that does the database: dead letters in, outbox out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from django.db import DatabaseError, close_old_connections, connections
from redis import Redis, RedisError

from emailqueue import housekeeping
from emailqueue.store import Store
from emailqueue.submit import relay

logger = logging.getLogger("emailqueue.worker")

INTERVAL = 5.0
"""Seconds between two looks at the outbox."""


class Housekeeper(threading.Thread):
    """Looks after the tables every few seconds, and at once when poked."""

    def __init__(self, connection: Redis) -> None:
        super().__init__(name="housekeeper", daemon=True)
        self._connection = connection
        self._poked = threading.Event()
        self._stopped = False
        self._foreign = False
        self._failing = False
        self._errands: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.open_letters = 0
        """Dead letters that wait for staff, as last counted."""

    def poke(self) -> None:
        """Look now: there is a dead letter in the inbox."""
        self._poked.set()

    def import_foreign(self) -> None:
        """Look now: there is a failure of a stock worker in one of our queues."""
        self._foreign = True
        self._poked.set()

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
            self._poked.wait(INTERVAL)
            self._poked.clear()
        self._look()
        connections.close_all()

    def _look(self) -> None:
        close_old_connections()
        try:
            with suppress(Empty):
                while True:
                    self._errands.get_nowait()()
            if self._foreign:
                self._foreign = False
                housekeeping.import_foreign_failures(self._connection)
            for chore in self._chores():
                chore()
        except Exception as error:  # whatever it is: without this thread no dead letter is stored
            # Nothing is lost: the inbox and the outbox keep what was not moved.
            if not self._failing:
                foreseen = isinstance(error, DatabaseError | RedisError | OSError)
                extra = {"error": str(error).strip()}
                logger.error("housekeeping waits", extra=extra, exc_info=not foreseen)  # noqa: TRY400
            self._failing = True
        else:
            self._failing = False
        finally:
            close_old_connections()

    def _chores(self) -> list[Callable[[], object]]:
        return [
            lambda: housekeeping.move_inbox(self._connection),
            lambda: housekeeping.close_redelivered(self._connection),
            lambda: relay(Store(self._connection)),
            self._count,
        ]

    def _count(self) -> None:
        self.open_letters = housekeeping.open_letters()
