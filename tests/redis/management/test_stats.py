"""`manage.py emailqueue stats`, once and as a live view."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from emailqueue import flow
from emailqueue.management.verbs.stats import CLEAR
from emailqueue.models import DeadLetter
from emailqueue.redis import rq_queues
from emailqueue.statistics.terminal import bars
from emailqueue.store import Store
from tests.conftest import ROOT, database_url
from tests.support.scripts import enqueue


def stats(*words: str) -> str:
    out = StringIO()
    call_command("emailqueue", "stats", *words, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_one_screen_tells_of_queues_workers_letters_and_what_holds_mail(
    valkey: Redis, queue_settings: Callable[..., None]
) -> None:
    queue_settings(RATE_LIMIT="10/s")
    enqueue(Store(valkey), "a", "b", queue="low")
    valkey.hset("rq:job:a", "due_at", timezone.now().timestamp() - 300)
    valkey.hset("emailqueue:counters", "low:completed", 12345)
    valkey.hset(f"emailqueue:minute:{int(timezone.now().timestamp() // 60)}", mapping={"sent": 60, "latency:30": 60})
    valkey.hset("emailqueue:flow", "outage:mail.example:25", f"{timezone.now().timestamp()} 9999999999")
    DeadLetter.objects.create(pk="a", label="offer", dead_lettered_at=timezone.now())
    flow.pause("high")

    lines = stats().splitlines()

    assert [line.split() for line in lines if line.startswith("low")] == [
        ["low", "2", "0", "0", "5", "min", "12,345", "0"]
    ]
    told = "\n".join(lines)
    assert "limit 10/s, burst 1" in told
    assert "latency  half within 0.9 s" in told
    assert "workers  0 alive\nopen     1 dead letters\nnotice   paused: high\nnotice   mail server " in told
    assert next(line for line in lines if line.startswith("sent ")).endswith("█ 60")
    assert max(map(len, lines)) <= 80


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_as_json_it_is_what_the_admin_tells_programs() -> None:
    figures = json.loads(stats("--json"))

    assert {"queues", "dead_letters", "latency", "rate", "minutes", "panels"} <= figures.keys()
    assert figures["queues"]["low"]["waiting"] == 0


def test_without_redis_it_says_so(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    with pytest.raises(CommandError, match="Redis did not answer"):
        stats()


@pytest.mark.parametrize("seconds", ["0", "soon", "nan", "inf"])
def test_a_time_that_makes_no_sense_is_refused(seconds: str) -> None:
    with pytest.raises(CommandError, match="Use seconds"):
        stats("--watch", seconds)


@pytest.mark.parametrize(("values", "drawn"), [([0, 1, 1000], " ▁█"), ([], ""), ([0, 0], "  "), ([1, 2, 4, 8], "▁▂▄█")])
def test_the_smallest_number_is_seen_beside_the_largest(values: list[int], drawn: str) -> None:
    assert bars(values) == drawn


def watching(*words: str, stdout: int) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": database_url()}
    command = [sys.executable, str(ROOT / "manage.py"), "emailqueue", "stats", "--watch", "0.2", *words]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=stdout, stderr=subprocess.PIPE)


def test_a_terminal_shows_what_changes_until_it_is_interrupted(valkey: Redis, transactional_db: None) -> None:
    ours, theirs = pty.openpty()
    shown = b""

    def read_until(part: str) -> None:
        nonlocal shown
        while part.encode() not in shown:
            shown += os.read(ours, 65536)

    process = watching(stdout=theirs)
    os.close(theirs)
    read_until("low                0")
    enqueue(Store(valkey), "a", queue="low")
    read_until("low                1")
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=20)
    os.close(ours)

    assert shown.count(CLEAR.encode()) >= 2
    assert (process.returncode, complaints) == (0, b"")


def test_in_a_pipe_each_look_is_a_line_also_while_redis_is_away(valkey: Redis, transactional_db: None) -> None:
    process = watching("--json", stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline())]
    valkey.client_pause(1800)

    while len(lines) < 2 or "error" in lines[-1] or not any("error" in line for line in lines):
        lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    assert "queues" in lines[0]
    assert {"error": "Redis does not answer: TimeoutError."} in lines
    assert process.returncode == 0


@pytest.mark.django_db(transaction=True)
def test_no_line_is_wider_than_a_terminal(valkey: Redis) -> None:
    server = f"outage:{'mail.' * 20}example:25"
    valkey.hset("emailqueue:flow", server, f"{timezone.now().timestamp()} 9999999999")

    lines = stats().splitlines()

    assert max(map(len, lines)) == 80
    assert [line[-1] for line in lines if "mail server" in line] == ["…"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_without_its_tables_it_says_so() -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE emailqueue_deadletter RENAME TO hidden")
    try:
        with pytest.raises(CommandError, match="The database did not answer, so there are no figures"):
            stats()
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO emailqueue_deadletter")


def test_it_ends_without_a_word_when_nobody_reads_any_more(valkey: Redis, transactional_db: None) -> None:
    program = f"{sys.executable} manage.py emailqueue stats --watch 0.1 --json | head -n 1"
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": database_url()}

    ran = subprocess.run(
        ["sh", "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=60
    )

    assert (len(ran.stdout.splitlines()), ran.stderr) == (1, "")
