"""What probes are told of workers."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pytest_django import Settings
from redis import Redis

from emailqueue.redis import rq_queues
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.worker.heartbeat import Heartbeat
from tests.conftest import StartWorker, eventually
from tests.support.probes import alive


def test_a_worker_of_its_own_is_alive_and_ready_until_it_ends(
    start_worker: StartWorker, tmp_path: Path, queue_settings: Callable[..., None]
) -> None:
    file = tmp_path / "alive"
    queue_settings(HEARTBEAT_FILE=file)
    before = alive()
    worker = start_worker(EMAIL_HEARTBEAT_FILE=str(file)).ready()
    eventually(file.exists)

    living = alive(), alive("--ready")
    worker.process.send_signal(signal.SIGSTOP)
    eventually(lambda: alive("--stale-after", "3")[0] == 1)
    worker.process.send_signal(signal.SIGCONT)
    eventually(lambda: alive("--stale-after", "3")[0] == 0)
    worker.stop()

    assert (before[0], [status for status, _ in living]) == (1, [0, 0])
    assert "is ready" in living[1][1]
    assert alive()[0] == 1
    assert not file.exists()


def test_a_worker_that_was_killed_is_not_ready_although_file_and_redis_still_know_it(
    valkey: Redis, start_worker: StartWorker, tmp_path: Path, queue_settings: Callable[..., None]
) -> None:
    file = tmp_path / "alive"
    queue_settings(HEARTBEAT_FILE=file)
    worker = start_worker(EMAIL_HEARTBEAT_FILE=str(file)).ready()
    eventually(lambda: alive("--ready")[0] == 0)

    worker.kill()

    assert (file.exists(), valkey.scard("rq:workers")) == (True, 1)
    status, told = alive("--ready")
    assert (status, "was killed" in told) == (1, True)
    following = start_worker(EMAIL_HEARTBEAT_FILE=str(file)).ready()
    eventually(lambda: alive("--ready")[0] == 0)
    following.stop()


def test_a_worker_is_ready_when_redis_has_heard_of_itself_and_not_of_its_neighbour(
    valkey: Redis, tmp_path: Path, queue_settings: Callable[..., None]
) -> None:
    file = tmp_path / "alive"
    queue_settings(HEARTBEAT_FILE=file)
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    valkey.sadd("rq:workers", "rq:worker:grace")
    valkey.hset("rq:worker:grace", items=["queues", "low", "last_heartbeat", moment, "hostname", socket.gethostname()])
    told = []

    for name in ("ada", "grace"):
        Heartbeat(str(file), worker=name).beat()
        told.append(alive("--ready")[0])

    assert told == [1, 0]


def test_without_a_file_redis_tells_of_the_workers_on_this_machine(valkey: Redis, start_worker: StartWorker) -> None:
    none = alive()
    worker = start_worker().ready()
    eventually(lambda: valkey.scard("rq:workers"))
    one = alive()
    elsewhere = valkey.hset(worker_key(valkey), "hostname", "elsewhere")

    assert (none[0], one[0], alive()[0], elsewhere) == (1, 0, 1, 0)
    worker.stop()


def test_a_worker_without_redis_is_alive_and_not_ready(
    settings: Settings, tmp_path: Path, queue_settings: Callable[..., None]
) -> None:
    file = tmp_path / "alive"
    file.touch()
    queue_settings(HEARTBEAT_FILE=str(file))
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    assert (alive()[0], alive("--ready")[0]) == (0, 1)


def test_a_worker_that_starts_without_redis_waits_for_it_alive_and_not_ready(
    settings: Settings, start_worker: StartWorker, tmp_path: Path, queue_settings: Callable[..., None]
) -> None:
    file, server = tmp_path / "alive", EmbeddedValkey(tmp_path / "late")
    queue_settings(HEARTBEAT_FILE=file)
    settings.RQ_QUEUES = rq_queues(server.url)

    worker = start_worker(EMAIL_HEARTBEAT_FILE=str(file), REDIS_URL=server.url)

    eventually(file.exists, 20)
    assert (alive()[0], alive("--ready")[0]) == (0, 1)
    with server:
        worker.ready()
        eventually(lambda: alive("--ready")[0] == 0)
        assert worker.stop() == 0
    assert "redis is away, waiting for it" in worker.log.read_text()


def test_a_worker_that_waits_for_redis_ends_on_sigterm(start_worker: StartWorker, tmp_path: Path) -> None:
    worker = start_worker(REDIS_URL="redis://127.0.0.1:1")
    eventually(lambda: "waiting for it" in worker.log.read_text(), 20)

    assert worker.stop(10) == 128 + signal.SIGTERM


def worker_key(valkey: Redis) -> str:
    [key] = valkey.smembers("rq:workers")
    assert isinstance(key, bytes)
    return key.decode()
