"""Waits for the wake-up that enqueueing gives, so that an idle worker starts at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from redis import Redis, RedisError

from emailqueue.store import Store

PATIENCE = 30.0
"""Seconds of one blocking call; the client's socket time-out must be longer."""


@dataclass(frozen=True, slots=True)
class Woken:
    """Tells a worker that something was queued."""


class Listener(threading.Thread):
    """Listens only while its worker wants work: a wake-up that a busy worker took would be lost to an idle one."""

    def __init__(self, connection: Redis, inbox: SimpleQueue[Any]) -> None:
        super().__init__(name="listener", daemon=True)
        self._connection = connection
        self._store = Store(connection)
        self._inbox = inbox
        self._wanted = threading.Event()
        self._stopped = threading.Event()

    def listen(self, *, wanted: bool) -> None:
        """Say whether the worker wants to be woken."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def stop(self) -> None:
        """End the thread, also out of its blocking call."""
        self._stopped.set()
        self._wanted.set()
        self._connection.connection_pool.disconnect()

    def run(self) -> None:
        """Wait for wake-ups until stopped."""
        while True:
            self._wanted.wait()
            if self._stopped.is_set():
                return
            try:
                woken = self._store.await_wake(PATIENCE)
            except (RedisError, OSError, ValueError):
                # Redis is away, which the worker finds out by itself, or the connection was closed by stop().
                self._stopped.wait(1.0)
                continue
            if woken:
                self._wanted.clear()
                self._inbox.put(Woken())
