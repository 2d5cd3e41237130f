"""What a worker in this process tells of itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from emailqueue.conf import Settings as QueueSettings
from emailqueue.jobs.priority import QUEUES
from emailqueue.redis import connect
from emailqueue.worker import heartbeat
from emailqueue.worker.heartbeat import EVERY
from emailqueue.worker.listener import PATIENCE
from emailqueue.worker.loop import Limits, Stop, WorkerLoop
from tests.conftest import eventually
from tests.support.probes import alive


@pytest.fixture
def rounds(valkey: Redis, tmp_path: Path, transactional_db: None) -> Iterator[tuple[WorkerLoop, threading.Event, Path]]:
    """Run a worker's main loop here; the event holds it up in the middle of its work."""
    hold, file = threading.Event(), tmp_path / "alive"
    hold.set()

    def nothing(*_arguments: object) -> None: ...

    def wait(*_arguments: object) -> None:
        hold.wait()

    loop = WorkerLoop(
        connect(timeout=5),
        listening=connect(timeout=PATIENCE + 5),
        settings=QueueSettings(heartbeat_file=str(file), stats_interval=0.1, rate_limit=0),
        name="held",
        queues=list(QUEUES),
        ttl=60,
        limits=Limits(),
        on_inbox=nothing,
        on_sent=nothing,
        on_figures=wait,
        on_outage=nothing,
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield loop, hold, file
    hold.set()
    loop.inbox.put(Stop())
    thread.join(20)


def test_a_main_loop_that_hangs_lets_the_file_become_stale(rounds: tuple[WorkerLoop, threading.Event, Path]) -> None:
    _loop, hold, file = rounds
    eventually(file.exists)
    first = file.stat().st_mtime
    eventually(lambda: file.stat().st_mtime > first)
    hold.clear()

    eventually(lambda: (heartbeat.age(str(file)) or 0) > EVERY + 1)

    assert heartbeat.describe(str(file), stale_after=EVERY + 1)[0] is False
    hold.set()
    eventually(lambda: (heartbeat.age(str(file)) or 0) < EVERY)


def test_a_worker_that_redis_has_not_heard_of_for_long_is_not_ready(valkey: Redis) -> None:
    valkey.sadd("rq:workers", "rq:worker:ada")
    moment = "2020-01-01T00:00:00.000000Z"
    valkey.hset("rq:worker:ada", items=["queues", "low", "last_heartbeat", moment, "hostname", socket.gethostname()])

    status, printed = alive("--ready")

    assert (status, "The 1 workers on" in printed and "have not reported to Redis" in printed) == (1, True)
