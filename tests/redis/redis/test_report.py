"""What is told of a Redis, good or bad."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.checks import CheckMessage
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from emailqueue.redis import connect, rq_queues
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.redis.report import RedisReport, describe_redis
from tests.support.system_checks import check

Replying = Callable[..., str]
pytestmark = [pytest.mark.django_db, pytest.mark.oldest]
"""Django's check of JSON fields asks the database, once in a process."""


@pytest.fixture
def port() -> int:
    """A TCP port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def replying() -> Iterator[Replying]:
    """Start a server that answers each command by its name, or all alike, and return its host and port."""
    servers: list[socket.socket] = []

    def start(reply: bytes, **replies: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=serve, args=[server, reply, replies], daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def serve(server: socket.socket, reply: bytes, replies: dict[str, bytes]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            while commands := re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)", connection.recv(4096)):
                connection.sendall(b"".join(replies.get(name.decode(), reply) for name in commands))
                if not replies:
                    break


def report_on(url: str, settings: Settings) -> RedisReport:
    settings.RQ_QUEUES = rq_queues(url)
    return describe_redis()


def only_problem(report: RedisReport) -> CheckMessage:
    (problem,) = report.problems
    assert problem.hint
    return problem


def test_a_good_server_is_told_in_one_sentence(tmp_path: Path, settings: Settings) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        settings.RQ_QUEUES = rq_queues(valkey.url)

        printed = check("redis")

    assert f"(emailqueue.I001) Redis found by rq_queues(url) at unix://{valkey.socket}: Valkey " in printed
    assert ", append-only file on, noeviction, " in printed
    assert " ms." in printed


@pytest.mark.django_db
def test_only_the_check_by_its_tag_connects(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    untagged, by_other_tag = check(), check("security")

    assert "emailqueue" not in untagged + by_other_tag
    with pytest.raises(SystemCheckError, match=r"emailqueue\.E001"):
        check("redis")


def test_a_refused_connection_is_reported(settings: Settings) -> None:
    report = report_on("redis://:secret@127.0.0.1:1/0", settings)

    problem = only_problem(report)
    assert problem.id == "emailqueue.E001"
    assert str(report).startswith("Nothing to connect to at redis://127.0.0.1:1/0: ")
    assert "refused" in str(report)
    assert "secret" not in repr(report)


def test_a_socket_that_is_not_there_is_reported(settings: Settings, tmp_path: Path) -> None:
    problem = only_problem(report_on(f"unix://{tmp_path}/none.sock", settings))

    assert problem.msg.startswith(f"Nothing to connect to at unix://{tmp_path}/none.sock: ")


def test_an_unknown_host_is_reported(settings: Settings) -> None:
    problem = only_problem(report_on("redis://redis.invalid:6379", settings))

    assert problem.id == "emailqueue.E002"
    assert problem.msg.startswith("The host of Redis at redis://redis.invalid:6379/0 is not known: ")


def test_a_server_that_hangs_is_reported_within_two_seconds(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        problem = only_problem(report_on(f"redis://127.0.0.1:{silent.getsockname()[1]}", settings))

    assert problem.id == "emailqueue.E003"
    assert problem.msg.endswith(" does not answer in time.")


@pytest.mark.parametrize("user", [":wrong", "nobody:secret", ":", ""])
def test_a_wrong_or_missing_password_is_reported_without_it(
    tmp_path: Path, settings: Settings, port: int, user: str
) -> None:
    with EmbeddedValkey(tmp_path, requirepass="secret", port=port):
        report = report_on(f"redis://{user}@127.0.0.1:{port}/0", settings)

    problem = only_problem(report)
    assert (problem.id, problem.msg) == (
        "emailqueue.E005",
        f"Redis at redis://127.0.0.1:{port}/0 refuses the password.",
    )
    assert "wrong" not in repr(report)
    assert "secret" not in repr(report)


def test_tls_towards_a_server_without_it_is_reported(tmp_path: Path, settings: Settings, port: int) -> None:
    with EmbeddedValkey(tmp_path, port=port):
        problem = only_problem(report_on(f"rediss://127.0.0.1:{port}", settings))

    assert (problem.id, problem.msg) == (
        "emailqueue.E004",
        f"The server at rediss://127.0.0.1:{port}/0 does not speak TLS.",
    )


@pytest.mark.parametrize(
    "reply",
    [b"", b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["hangs up", "tls", "http"],
)
def test_a_server_that_speaks_something_else_is_reported(settings: Settings, replying: Replying, reply: bytes) -> None:
    place = replying(reply)

    problem = only_problem(report_on(f"redis://{place}", settings))

    assert problem.id == "emailqueue.E004"
    assert problem.msg == f"The server at redis://{place}/0 does not answer as a Redis without TLS does."


def test_a_replica_is_reported(tmp_path: Path, settings: Settings) -> None:
    with EmbeddedValkey(tmp_path, replicaof="127.0.0.1 1") as valkey:
        report = report_on(valkey.url, settings)

    assert only_problem(report).id == "emailqueue.E006"
    assert only_problem(report).msg.endswith(" is a replica that cannot be written to.")
    assert report.latency is not None


def test_a_user_that_may_only_read_is_reported(tmp_path: Path, settings: Settings, port: int) -> None:
    with EmbeddedValkey(tmp_path, port=port) as valkey:
        settings.RQ_QUEUES = rq_queues(valkey.url)
        connect().acl_setuser(
            "reader",
            enabled=True,
            passwords=["+pass"],
            keys=["*"],
            categories=["+@read", "+@connection"],
            commands=["+eval"],
        )
        report = report_on(f"redis://reader:pass@127.0.0.1:{port}", settings)

    assert only_problem(report).id == "emailqueue.E007"
    assert " lets this user or token not write: " in only_problem(report).msg


def test_a_hosted_server_that_tells_nothing_is_unknown_but_good(tmp_path: Path, settings: Settings, port: int) -> None:
    with EmbeddedValkey(tmp_path, port=port) as valkey:
        settings.RQ_QUEUES = rq_queues(valkey.url)
        connect().acl_setuser(
            "mail", enabled=True, passwords=["+pass"], keys=["*"], categories=["+@all"], commands=["-info", "-config"]
        )
        report = report_on(f"redis://mail:pass@127.0.0.1:{port}", settings)

    assert report.problems == ()
    assert "unknown server, persistence unknown, eviction policy unknown, " in str(report)


@pytest.mark.parametrize(
    ("options", "persistence", "problem"),
    [
        ({"appendonly": "no"}, "no persistence", "emailqueue.W001"),
        ({"appendonly": "no", "save": "60 1"}, "snapshots only", None),
        ({"maxmemory_policy": "allkeys-lru"}, "append-only file on", "emailqueue.W002"),
    ],
)
def test_a_server_that_may_forget_mails_is_warned_of(
    tmp_path: Path, settings: Settings, options: dict[str, str], persistence: str, problem: str | None
) -> None:
    with EmbeddedValkey(tmp_path, program=None, **options) as valkey:
        report = report_on(valkey.url, settings)

    assert report.persistence == persistence
    assert [entry.id for entry in report.problems] == ([problem] if problem else [])
    assert all(entry.hint for entry in report.problems)


def test_a_server_that_is_too_old_is_reported(settings: Settings, replying: Replying) -> None:
    place = replying(b"-ERR unknown command `HELLO`, with args beginning with: `3`\r\n")

    problem = only_problem(report_on(f"redis://{place}?protocol=3", settings))

    assert (problem.id, problem.msg) == ("emailqueue.E008", f"Redis at redis://{place}/0 is too old.")


def test_an_old_server_that_still_talks_is_reported_by_its_version(settings: Settings, replying: Replying) -> None:
    info = b"redis_version:6.0.9\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"
    place = replying(
        b"+OK\r\n", HELLO=b"%1\r\n$5\r\nproto\r\n:3\r\n", INFO=b"$%d\r\n%b\r\n" % (len(info), info), CONFIG=b"%0\r\n"
    )

    report = report_on(f"redis://{place}?protocol=3", settings)

    assert (only_problem(report).id, only_problem(report).msg) == ("emailqueue.E008", "Redis 6.0.9 is too old.")
    assert ": Redis 6.0.9, append-only file on, noeviction, " in str(report)


def test_a_sentinel_without_a_master_is_reported(settings: Settings) -> None:
    settings.RQ_QUEUES = {"critical": {"SENTINELS": [("127.0.0.1", 1)], "MASTER_NAME": "mail", "DB": 0}}

    problem = only_problem(describe_redis())

    assert problem.id == "emailqueue.E001"
    assert problem.msg.startswith("Nothing to connect to at sentinel://mail: No master found for 'mail'")


def test_the_embedded_server_is_called_so(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL")
    settings.RQ_QUEUES = rq_queues(data_dir=tmp_path)

    report = describe_redis()

    assert str(report).startswith(f"Embedded Redis at unix://{tmp_path}/valkey.sock: Valkey ")
    EmbeddedValkey(tmp_path).kill()


def test_an_error_that_we_do_not_know_is_passed_on(settings: Settings, replying: Replying) -> None:
    place = replying(b"-LOADING the dataset in memory\r\n")

    problem = only_problem(report_on(f"redis://{place}", settings))

    assert problem.id == "emailqueue.E009"
    assert problem.msg.endswith(" answers with an error: the dataset in memory.")


def test_an_embedded_server_that_does_not_start_is_reported(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL")
    (tmp_path / "appendonlydir").write_text("in the way")
    settings.RQ_QUEUES = rq_queues(data_dir=tmp_path)

    report = describe_redis()

    assert only_problem(report).id == "emailqueue.E001"
    assert f"The embedded Valkey in {tmp_path} does not start" in str(report)
