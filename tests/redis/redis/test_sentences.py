"""What callers, commands and logs are told when Redis refuses, and when it is not there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from emailqueue import cancel_email, get_queue_stats, reschedule_email
from emailqueue.errors import RedisUnavailable
from emailqueue.events import get_event_stats
from emailqueue.models import OutboxRow
from emailqueue.redis import rq_queues
from emailqueue.redis.embedded import EmbeddedValkey
from events import queue_reward_delivery
from tests.conftest import WorkerProcess, eventually

NOBODY = "redis://127.0.0.1:1"
NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis, with a password that is not its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with EmbeddedValkey(tmp_path_factory.mktemp("refusing"), requirepass="secret", port=port):
        yield f"redis://:wrong@127.0.0.1:{port}"


def refused(url: str) -> str:
    return f"Redis at redis://{url.rpartition('@')[2]}/0 refuses the password. Check the password"


ASKS: list[tuple[Callable[[], object], str]] = [
    (get_queue_stats, "there are no figures"),
    (get_event_stats, "there are no figures"),
    (lambda: cancel_email("7" * 32), f"'{'7' * 32}' may not be cancelled"),
    (lambda: reschedule_email("7" * 32, NOON), f"'{'7' * 32}' may not be moved"),
]
COMMANDS = [
    (["emailqueue", "limit"], "nothing is known to be changed"),
    (["emailqueue", "pause"], "nothing is known to be changed"),
    (["events", "trace", "7" * 32], "there is no trail"),
]


@pytest.mark.parametrize(("ask", "follows"), ASKS)
def test_who_asks_is_told_of_a_refusal_as_one(
    settings: Settings, refusing: str, ask: Callable[[], object], follows: str
) -> None:
    settings.RQ_QUEUES = rq_queues(refusing)

    with pytest.raises(RedisUnavailable) as told:
        ask()

    assert str(told.value).startswith(f"Redis refused, so {follows}: {refused(refusing)}")
    assert "wrong" not in str(told.value)


@pytest.mark.parametrize(("ask", "follows"), ASKS)
def test_who_asks_is_told_where_nobody_answers(settings: Settings, ask: Callable[[], object], follows: str) -> None:
    settings.RQ_QUEUES = rq_queues(NOBODY)

    with pytest.raises(RedisUnavailable) as told:
        ask()

    assert str(told.value).startswith(f"Redis did not answer, so {follows}: Nothing to connect to at {NOBODY}/0: ")
    assert str(told.value).endswith(". Start Redis there, or name another one in rq_queues(url).")


@pytest.mark.parametrize(("words", "follows"), COMMANDS)
def test_a_command_says_why(settings: Settings, refusing: str, words: list[str], follows: str) -> None:
    settings.RQ_QUEUES = rq_queues(refusing)
    with pytest.raises(CommandError) as by_refusal:
        call_command(*words)
    settings.RQ_QUEUES = rq_queues(NOBODY)
    with pytest.raises(CommandError) as by_absence:
        call_command(*words)

    assert str(by_refusal.value).startswith(f"Redis refused, so {follows}: {refused(refusing)}")
    assert str(by_absence.value).startswith(f"Redis did not answer, so {follows}: Nothing to connect to at ")


def test_an_embedded_server_that_does_not_start_has_said_why(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL")
    (tmp_path / "appendonlydir").write_text("in the way")
    settings.RQ_QUEUES = rq_queues(data_dir=tmp_path)

    with pytest.raises(RedisUnavailable) as told:
        get_queue_stats()

    assert str(told.value).startswith(f"The embedded Valkey in {tmp_path} does not start")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("outbox", ["failover", "always"])
def test_the_log_of_the_web_says_why_jobs_wait(
    settings: Settings,
    refusing: str,
    caplog: pytest.LogCaptureFixture,
    queue_settings: Callable[..., None],
    outbox: str,
) -> None:
    settings.RQ_QUEUES = rq_queues(refusing)
    queue_settings(OUTBOX=outbox)

    queue_reward_delivery("ada@example.com", {"reward_name": "Badge"})

    assert OutboxRow.objects.count() == 1
    (line,) = caplog.messages
    assert line.startswith(f"jobs wait in the database: Redis refused: {refused(refusing)}")


def test_a_worker_that_redis_refuses_ends_and_says_why_in_one_line(tmp_path: Path, refusing: str) -> None:
    worker = WorkerProcess(tmp_path / "worker.log", "critical", REDIS_URL=refusing)

    status = worker.process.wait(60)

    (line,) = worker.log.read_text().splitlines()
    assert status == 1
    assert line.startswith(refused(refusing))


def test_a_worker_that_waits_for_redis_says_where_and_what_to_do(tmp_path: Path) -> None:
    worker = WorkerProcess(tmp_path / "worker.log", "critical", REDIS_URL=NOBODY)
    eventually(lambda: "waiting for it" in worker.log.read_text(), 60)
    worker.kill()

    line = worker.log.read_text().splitlines()[0]
    assert f"Nothing to connect to at {NOBODY}/0: " in line
    assert "Start Redis there, or name another one in REDIS_URL." in line
