"""Whether a worker, or any on this machine, has reported to Redis lately."""

from __future__ import annotations

import socket

from emailqueue.conf import Settings
from emailqueue.statistics.snapshot import Snapshot


def is_fresh(heartbeat: float | None, settings: Settings) -> bool:
    """Return whether a worker that reported so many seconds ago is alive: it may miss two reports."""
    return heartbeat is not None and heartbeat < 3 * settings.stats_interval + 5


def describe_host(snapshot: Snapshot, settings: Settings, *, host: str | None = None) -> tuple[bool, str]:
    """Return whether a worker of `host`, by default this machine, is alive by Redis, and a sentence about it."""
    host = host or socket.gethostname()
    here = [worker for worker in snapshot.workers if worker.host == host]
    alive = [worker for worker in here if is_fresh(worker.heartbeat, settings)]
    if alive:
        reported = min(worker.heartbeat or 0.0 for worker in alive)
        return True, f"{len(alive)} workers on {host} are ready; one reported to Redis {reported:.0f} s ago."
    if here:
        return False, f"The {len(here)} workers on {host} have not reported to Redis for some time."
    return False, f"Redis knows no worker on {host}."


def describe_worker(name: str, snapshot: Snapshot, settings: Settings) -> tuple[bool, str]:
    """Return whether the worker of that name is alive by Redis, and a sentence about it."""
    heartbeat = next((worker.heartbeat for worker in snapshot.workers if worker.name == name), None)
    if is_fresh(heartbeat, settings):
        return True, f"The worker {name} is ready; it reported to Redis {heartbeat:.0f} s ago."
    return False, f"The worker {name} has not reported to Redis, or not for some time."
