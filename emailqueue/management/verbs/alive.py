"""Report whether the worker on this machine lives; exits with 1 when it does not."""

from __future__ import annotations

from typing import Any

from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.management.command import Answer
from emailqueue.redis import connect
from emailqueue.statistics import presence
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
    settings = get_settings()
    return presence.describe_worker(name, snapshot, settings) if name else presence.describe_host(snapshot, settings)
