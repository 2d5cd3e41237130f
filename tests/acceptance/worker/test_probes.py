"""What probes are told of workers and of the web."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.test import Client
from pytest_django import Settings
from redis import Redis

from emailqueue.conf import Settings as QueueSettings
from emailqueue.conf import get_settings
from emailqueue.enqueue.submit import absence
from emailqueue.jobs.priority import QUEUES
from emailqueue.redis import connect, rq_queues
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.worker import heartbeat
from emailqueue.worker.heartbeat import EVERY, Heartbeat
from emailqueue.worker.listener import PATIENCE
from emailqueue.worker.loop import Limits, Rounds, Stop
from tests.conftest import StartWorker, eventually


def alive(*words: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("emailqueue", "alive", *words, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def probe(file: Path, *seconds: str) -> subprocess.CompletedProcess[str]:
    """Run the probe that starts no Django."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "emailqueue.worker.heartbeat", str(file), *seconds],
        capture_output=True,
        text=True,
        check=False,
    )


# The file


def test_a_file_is_touched_at_most_every_two_seconds_and_removed_at_the_end(tmp_path: Path) -> None:
    file, now = tmp_path / "alive", [100.0]
    heart = Heartbeat(str(file), clock=lambda: now[0])
    heart.beat()
    os.utime(file, (0, 0))

    heart.beat()
    too_early = file.stat().st_mtime
    now[0] += EVERY
    heart.beat()

    assert (too_early, file.stat().st_mtime > 1e9) == (0, True)
    heart.end()
    assert not file.exists()


def test_without_a_file_nothing_beats_and_nothing_is_woken_for_it() -> None:
    heart = Heartbeat("")

    heart.beat()
    heart.end()

    assert heart.next == float("inf")


def test_a_file_that_cannot_be_written_is_told_once_and_ends_no_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    heart = Heartbeat(str(tmp_path / "gone" / "alive"), clock=lambda: now[0])

    for now[0] in (0.0, 10.0, 20.0):
        heart.beat()

    assert [record.message for record in caplog.records] == ["heartbeat cannot be told"]


@pytest.mark.parametrize("abstract", [True, False])
def test_the_watchdog_of_systemd_is_told_when_it_wants_to_be(tmp_path: Path, *, abstract: bool) -> None:
    name = f"@emailqueue-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.settimeout(5)

        Heartbeat("", environ={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"}).beat()
        Heartbeat("", environ={"NOTIFY_SOCKET": name}).beat()

        assert systemd.recv(100) == b"WATCHDOG=1"
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


def test_a_full_disk_keeps_no_word_from_the_watchdog(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(5)
        environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}

        Heartbeat(str(tmp_path / "gone" / "alive"), environ=environ).beat()

        assert systemd.recv(100) == b"WATCHDOG=1"


def test_a_watchdog_that_is_gone_keeps_no_file_from_being_touched(tmp_path: Path) -> None:
    file = tmp_path / "alive"

    Heartbeat(str(file), environ={"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "60000000"}).beat()

    assert file.exists()


def test_a_watchdog_of_another_process_hears_nothing(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}

    assert Heartbeat("", environ=environ).next == float("inf")


def test_what_a_killed_worker_left_is_removed_before_the_next_one_beats(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.write_text("1 1 ada\n")

    heart = Heartbeat(str(file), worker="grace")

    assert (file.exists(), heartbeat.worker_of(str(file))) == (False, None)
    heart.beat()
    assert heartbeat.worker_of(str(file)) == "grace"


@pytest.mark.parametrize("text", ["", "1 1 ada", "PID 1 ada", "x y ada", "ada"])
def test_a_file_behind_which_no_process_is_names_no_worker(tmp_path: Path, text: str) -> None:
    file = tmp_path / "alive"
    file.write_text(text.replace("PID", str(os.getpid())))

    assert heartbeat.worker_of(str(file)) is None


def test_the_probe_tells_a_fresh_file_from_a_stale_and_a_missing_one(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    missing = probe(file)
    file.touch()
    fresh = probe(file)
    os.utime(file, (time.time() - 20, time.time() - 20))

    stale = probe(file, "10")

    assert [each.returncode for each in (missing, fresh, stale, probe(file))] == [1, 0, 1, 0]
    assert "hangs" in stale.stdout
    assert "django" not in fresh.stderr  # the modules that it has imported
    assert (heartbeat.main([]), heartbeat.main([str(file), "10"]), heartbeat.main([str(file)])) == (2, 1, 0)


@pytest.fixture
def rounds(valkey: Redis, tmp_path: Path, transactional_db: None) -> Iterator[tuple[Rounds, threading.Event, Path]]:
    """Run a worker's main loop here; the event holds it up in the middle of its work."""
    hold, file = threading.Event(), tmp_path / "alive"
    hold.set()

    def nothing(*_arguments: object) -> None: ...

    def wait(*_arguments: object) -> None:
        hold.wait()

    loop = Rounds(
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


def test_a_main_loop_that_hangs_lets_the_file_become_stale(rounds: tuple[Rounds, threading.Event, Path]) -> None:
    _loop, hold, file = rounds
    eventually(file.exists)
    first = file.stat().st_mtime
    eventually(lambda: file.stat().st_mtime > first)
    hold.clear()

    eventually(lambda: (heartbeat.age(str(file)) or 0) > EVERY + 1)

    assert heartbeat.tell(str(file), stale_after=EVERY + 1)[0] is False
    hold.set()
    eventually(lambda: (heartbeat.age(str(file)) or 0) < EVERY)


# The command


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


def test_a_worker_that_redis_has_not_heard_of_for_long_is_not_ready(valkey: Redis) -> None:
    valkey.sadd("rq:workers", "rq:worker:ada")
    moment = "2020-01-01T00:00:00.000000Z"
    valkey.hset("rq:worker:ada", items=["queues", "low", "last_heartbeat", moment, "hostname", socket.gethostname()])

    status, printed = alive("--ready")

    assert (status, "has not heard for long of the 1 workers" in printed) == (1, True)


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


# The web


@pytest.fixture(autouse=True)
def _present() -> Iterator[None]:
    absence.until = 0.0
    yield
    absence.until = 0.0


def ask(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/health/")
    return answer.status_code, answer.json()


@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_the_web_is_ready_with_database_and_redis(client: Client) -> None:
    answer = client.get("/health/")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": "ok", "redis": "ok", "mail": "queued"}
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("outbox", "status", "mail"),
    [("failover", 200, "kept in the outbox"), ("always", 200, "kept in the outbox"), ("off", 503, "refused")],
)
def test_without_redis_the_web_is_ready_when_the_outbox_takes_mail(
    client: Client, settings: Settings, queue_settings: Callable[..., None], *, outbox: str, status: int, mail: str
) -> None:
    settings.RQ_QUEUES = rq_queues("redis://:secret@127.0.0.1:1")
    queue_settings(OUTBOX=outbox)

    answer = ask(client)

    assert (answer[0], answer[1]["redis"], answer[1]["mail"]) == (status, "away", mail)
    assert "secret" not in str(answer)


@pytest.mark.django_db
def test_redis_is_not_asked_again_while_requests_avoid_it(client: Client, valkey: Redis) -> None:
    absence.begin()

    asked_before = valkey.info("commandstats").get("cmdstat_eval", {}).get("calls", 0)
    answer = ask(client)

    assert answer[1]["redis"] == "away"
    assert valkey.info("commandstats").get("cmdstat_eval", {}).get("calls", 0) == asked_before


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_cannot_be_written_to_takes_no_mail(client: Client, valkey: Redis) -> None:
    valkey.config_set("maxmemory", 1)
    try:
        answer = ask(client)
    finally:
        valkey.config_set("maxmemory", 0)

    assert (answer[0], answer[1]["redis"]) == (200, "away")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_without_its_tables_the_web_is_not_ready(client: Client) -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE emailqueue_outboxrow RENAME TO hidden")
    try:
        answer = ask(client)
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO emailqueue_outboxrow")

    assert answer == (503, {"status": "not ready", "database": "away", "redis": "ok", "mail": "refused"})


def test_the_web_is_alive_whatever_servers_are_away(client: Client, settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    answer = client.get("/alive/")  # without the mark for tests that may touch the database

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert client.post("/alive/").status_code == client.post("/health/").status_code == 405


def worker_key(valkey: Redis) -> str:
    [key] = valkey.smembers("rq:workers")
    assert isinstance(key, bytes)
    return key.decode()


def test_the_setting_wants_an_absolute_path(queue_settings: Callable[..., None]) -> None:
    queue_settings(HEARTBEAT_FILE=Path("/run/emailqueue/alive"))

    assert get_settings().heartbeat_file == "/run/emailqueue/alive"
