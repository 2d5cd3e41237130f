from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from emailqueue.errors import RedisUnavailable
from emailqueue.redis import connect, current_source, embedded, revive, rq_queues
from emailqueue.redis.embedded import EmbeddedValkey, answers, ensure_running, socket_path

ROOT = Path(__file__).resolve().parents[3]

STARTER = """
import os, subprocess, sys, time
from pathlib import Path
from emailqueue.redis.embedded import EmbeddedValkey, ensure_running

ensure_running(Path(sys.argv[1]))
{more}
print(EmbeddedValkey(Path(sys.argv[1])).pid, flush=True)
time.sleep(60)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process that uses the Valkey in `tmp_path` and prints the server's process id."""
    with ExitStack() as started:

        def run(more: str = "") -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", STARTER.format(more=more), str(tmp_path)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield run


def server_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def client(path: Path) -> redis.Redis:
    return redis.Redis.from_url(EmbeddedValkey(path).url, socket_timeout=5.0)


def ends(path: Path, *, within: float = 10.0) -> bool:
    """Tell whether the last process that holds the lock of the server in `path` ends soon."""
    deadline = time.monotonic() + within
    with (path / "server.lock").open("ab") as lock:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return True
    return False


def test_two_processes_share_one_server(tmp_path: Path, start: Start) -> None:
    server = server_of(start())

    ensure_running(tmp_path)

    assert EmbeddedValkey(tmp_path).pid == server


def test_two_processes_that_start_at_the_same_moment_get_one_server(start: Start) -> None:
    both = [start(), start()]

    servers = {server_of(process) for process in both}

    assert len(servers) == 1


def test_the_server_dies_when_its_starter_is_killed(tmp_path: Path, start: Start) -> None:
    starter = start()
    server_of(starter)

    starter.kill()

    assert ends(tmp_path)


def test_children_of_the_starter_do_not_keep_the_server_alive(tmp_path: Path, start: Start) -> None:
    starter = start(
        "subprocess.Popen(['sleep', '30'], stdout=subprocess.DEVNULL, close_fds=False)\n"
        "if os.fork() == 0:\n"
        "    os.close(1)\n"
        "    time.sleep(30)\n"
        "    os._exit(0)"
    )
    server_of(starter)

    starter.kill()

    assert ends(tmp_path)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_that_ends_leaves_the_server_running(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        child = os.fork()
        if child == 0:
            valkey.stop()
            os._exit(0)
        os.waitpid(child, 0)

        alive = answers(valkey.socket)

    assert alive


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_the_server_dies_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        supervisor = int(Path(f"/proc/{valkey.pid}/stat").read_text().rpartition(")")[2].split()[1])

        os.kill(supervisor, signal.SIGKILL)

        assert ends(tmp_path)


def test_a_supervisor_that_is_asked_to_end_takes_the_server_along(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        os.kill(os.getsid(valkey.pid), signal.SIGTERM)

        assert ends(tmp_path)


def test_ctrl_c_in_the_starters_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        session = os.getsid(valkey.pid)

    assert session != os.getsid(0)


def test_data_survives_a_crash_of_the_server(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        client(tmp_path).set("mail", "waits")
        valkey.kill()
        assert not answers(valkey.socket)

        valkey.start()

        assert client(tmp_path).get("mail") == b"waits"


def test_whoever_still_uses_the_server_revives_it_with_its_data(
    tmp_path: Path, start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL")
    settings.RQ_QUEUES = rq_queues(data_dir=tmp_path)
    starter = start()
    server_of(starter)
    connect().set("mail", "waits")
    starter.kill()
    assert ends(tmp_path)
    with pytest.raises(redis.ConnectionError):
        connect().get("mail")

    revive()

    assert connect().get("mail") == b"waits"
    assert current_source().variable == "embedded"
    EmbeddedValkey(tmp_path).kill()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the server of the other tests, which must outlive what ends all servers of this process."""
    monkeypatch.setattr(embedded, "_started", {})


@pytest.mark.usefixtures("alone")
def test_a_starter_whose_server_was_killed_starts_another_one(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        killed = valkey.pid
        os.kill(killed, signal.SIGKILL)
        assert ends(tmp_path)

        ensure_running(tmp_path)

        assert valkey.pid != killed
        assert client(tmp_path).ping()
        embedded._stop_all()
        assert ends(tmp_path)


@pytest.mark.usefixtures("alone")
def test_a_forked_child_lets_go_of_the_server(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path):
        # What os.register_at_fork() calls in the child; here it closes the only pipe.
        embedded._let_go_of_all()

        assert ends(tmp_path)


def test_no_second_server_opens_the_files_of_one_that_hangs(tmp_path: Path, start: Start) -> None:
    server = server_of(start())
    os.kill(server, signal.SIGSTOP)

    with pytest.raises(RedisUnavailable, match="does not start"):
        EmbeddedValkey(tmp_path).start(timeout=1.5)

    os.kill(server, signal.SIGCONT)
    assert EmbeddedValkey(tmp_path).pid == server
    assert answers(socket_path(tmp_path))


def test_a_server_that_hangs_is_killed_in_the_end(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()
    os.kill(valkey.pid, signal.SIGSTOP)

    valkey.stop()

    assert ends(tmp_path, within=0.1)


def test_the_server_keeps_an_append_only_file_and_opens_no_port(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path):
        config = client(tmp_path).config_get("port", "append*", "maxmemory-policy")

    assert (config["port"], config["appendonly"], config["appendfsync"]) == ("0", "yes", "everysec")
    assert config["maxmemory-policy"] == "noeviction"


def test_a_server_is_stopped_in_good_order_and_once(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()

    valkey.stop()
    valkey.stop()

    assert "ready to exit" in valkey.log.read_text()
    assert not valkey.socket.exists()


def test_a_new_directory_is_private_and_kept_out_of_git(tmp_path: Path) -> None:
    directory = tmp_path / "a new 100%25" / ".valkey"

    with EmbeddedValkey(directory) as valkey:
        client(directory).ping()

        mode = valkey.data_dir.stat().st_mode & 0o777
        assert (mode, (valkey.data_dir / ".gitignore").read_text()) == (0o700, "*\n")


def test_a_server_that_does_not_start_is_reported_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable) as failed:
        EmbeddedValkey(tmp_path, maxmemory_policy="nonsense").start()

    assert "maxmemory-policy" in (tmp_path / "valkey.log").read_text()
    assert "Look into " in str(failed.value)


def test_a_path_that_is_too_long_for_a_socket_moves_it_to_a_private_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 25)
    with tempfile.TemporaryDirectory(prefix="vk") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)

        with EmbeddedValkey(deep) as valkey:
            client(deep).ping()

            assert valkey.socket.parent == Path(short, f"emailqueue-{os.getuid()}")
            assert valkey.socket.parent.stat().st_mode & 0o777 == 0o700
            assert valkey.socket != socket_path(tmp_path / ("DEEP" * 25))


def test_a_private_directory_that_others_may_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Path(tmp_path, f"emailqueue-{os.getuid()}").mkdir(mode=0o755)

    with pytest.raises(RedisUnavailable, match="only you may enter"):
        ensure_running(tmp_path / ("deep" * 25))
