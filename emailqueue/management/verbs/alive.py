"""Report whether the worker on this machine lives; exits with 1 when it does not."""

import socket
from typing import Any

from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.management.command import Answer
from emailqueue.redis import connect
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import Store
from emailqueue.worker import heartbeat

ARGUMENTS = {
    "--ready": {"action": "store_true", "help": "ask Redis, too, whether this worker has reported"},
    "--stale-after": {
        "type": float,
        "default": heartbeat.STALE_AFTER,
        "metavar": "SECONDS",
        "help": "age of EMAIL_QUEUE['HEARTBEAT_FILE'] from which on the worker hangs; default: %(default)g",
    },
}


def run(*, ready: bool, stale_after: float, **options: Any) -> Answer:
    """Look at the heartbeat file, and where there is none, or --ready is given, at what Redis knows."""
    path = get_settings().heartbeat_file
    answers = [heartbeat.describe(path, stale_after=stale_after)] if path else []
    if ready or not path:
        answers.append(_by_redis(path))
    sentences = [sentence for _lives, sentence in answers]
    return Answer(text="\n".join(sentences), status=int(not all(lives for lives, _sentence in answers)))


def _by_redis(path: str) -> tuple[bool, str]:
    name = heartbeat.worker_of(path) if path else ""
    if name is None:
        return False, f"No process is behind {path}: its worker was killed, or the next one has not begun."
    try:
        snapshot = Snapshot.take(Store(connect()))
    except (RedisError, RedisUnavailable, OSError) as error:
        return False, f"Redis does not answer: {type(error).__name__}."
    return _worker(name, snapshot) if name else _host(socket.gethostname(), snapshot)


def _worker(name: str, snapshot: Snapshot) -> tuple[bool, str]:
    for worker in snapshot.alive:
        if worker.name == name:
            return True, f"The worker {name} is ready; it reported to Redis {worker.heartbeat:.0f} s ago."
    return False, f"The worker {name} has not reported to Redis, or not for some time."


def _host(host: str, snapshot: Snapshot) -> tuple[bool, str]:
    if alive := [worker.heartbeat or 0.0 for worker in snapshot.alive if worker.host == host]:
        return True, f"{len(alive)} workers on {host} are ready; one reported to Redis {min(alive):.0f} s ago."
    if silent := sum(worker.host == host for worker in snapshot.workers):
        return False, f"The {silent} workers on {host} have not reported to Redis for some time."
    return False, f"Redis knows no worker on {host}."
