"""Waits for the wake-up that enqueueing gives, so that an idle worker starts at once."""

import threading
from contextlib import suppress
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
    """Listens only while its worker has room for jobs: a wake-up that a busy one took would be lost to an idle one."""

    def __init__(self, connection: Redis, inbox: SimpleQueue[Any]) -> None:
        super().__init__(name="listener", daemon=True)
        self._connection = connection
        self._inbox = inbox
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._client_id = 0

    def listen(self, *, wanted: bool) -> None:
        """Say whether the worker is to be woken."""
        if wanted or self._stopped.is_set():
            self._wanted.set()
        else:
            self._wanted.clear()

    def stop(self) -> None:
        """End the thread, also out of its blocking call. A server without CLIENT UNBLOCK leaves it to the exit."""
        self._stopped.set()
        self._wanted.set()
        with suppress(RedisError, OSError):
            for _attempt in range(20):  # it may be on its way into the call
                if not self.is_alive() or self._connection.client_unblock(self._client_id):
                    break
                self.join(0.05)

    def run(self) -> None:
        """Wait for wake-ups until stopped."""
        client = self._connection.client()  # type: ignore[no-untyped-call]  # redis-py types most methods, not this
        store = Store(client)
        while True:
            self._wanted.wait()
            if self._stopped.is_set():
                client.close()
                return
            try:
                self._client_id = self._client_id or client.client_id()
                woken = store.await_wake(PATIENCE)
            except (RedisError, OSError):  # the worker finds that out by itself, and mends it
                self._client_id = 0  # the next connection has another
                self._stopped.wait(1.0)
                continue
            if woken:
                self._wanted.clear()
                self._inbox.put(Woken())
