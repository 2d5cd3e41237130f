"""`manage.py quickstart`, run as a user runs it, in an environment that points elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import ProxyHandler, build_opener

import pytest
from django.conf import settings

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")

ELSEWHERE = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "DATABASE_URL": "sqlite:////nowhere/db.sqlite3",
    "EMAIL_HOST": "mail.invalid",
    "EMAIL_RATE_LIMIT": "1/h",
}
PATIENCE = 90.0
"""Seconds; what these tests wait for takes a tenth of that on two free cores."""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def state() -> Iterator[Path]:
    # Not in tmp_path, which may be too long for the socket of Valkey; then that lies elsewhere, and is not found here.
    with TemporaryDirectory(prefix="quickstart-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
def start(state: Path) -> Iterator[Start]:
    """Start quickstart with options; whatever a failing test leaves of it is killed."""

    def start(*options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, settings.BASE_DIR / "manage.py", "quickstart", "--state", str(state), *options],
            env=os.environ | ELSEWHERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    yield start
    for pid in processes_of(state):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(state: Path) -> list[int]:
    """Return the processes in whose environment or command line the folder `state` is named."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            if os.fsencode(state) in named:
                found.append(int(process.name))
    return found


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what the process says up to the line that holds `text`."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"It ended without saying {text!r}: {said}")


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
def test_exit_json_accounts_for_every_mail_and_leaves_no_process(start: Start, state: Path) -> None:
    process = start("--exit", "--json")

    said, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, said
    result = json.loads(said.splitlines()[-1])
    assert list(result) == ["published", "queued", "delivered", "retried", "dead_lettered", "lost"]
    assert result["lost"] == 0
    assert result["queued"] == result["delivered"] + result["dead_lettered"] >= 1000
    assert min(result["published"], result["retried"], result["dead_lettered"]) > 0
    assert len(list((state / "mailbox").iterdir())) == result["delivered"]
    assert processes_of(state) == []


@pytest.mark.slow
def test_it_stays_until_ctrl_c_which_stops_everything(start: Start, state: Path) -> None:
    process = start()
    said = read_until(process, "Ctrl+C")
    address = re.search(r"http://\S+/admin/emailqueue/deadletter/", said)
    assert address
    with build_opener(ProxyHandler({})).open(address[0], timeout=PATIENCE) as answer:
        assert "Log in" in answer.read().decode()

    process.send_signal(signal.SIGINT)

    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert processes_of(state) == []


def test_nothing_outlives_a_quickstart_that_is_killed(start: Start, state: Path) -> None:
    process = start("--exit")
    assert wait_until(lambda: len(processes_of(state)) >= 5)  # itself, Valkey and its supervisor, two workers

    process.kill()

    process.communicate(timeout=PATIENCE)
    assert wait_until(lambda: processes_of(state) == [])


def test_a_folder_with_other_files_is_refused_and_left_alone(start: Start, state: Path) -> None:
    state.mkdir()
    (state / "thesis.txt").write_text("all of it")

    process = start("--exit")

    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Name a new or empty folder with --state" in said
    assert [path.name for path in state.iterdir()] == ["thesis.txt"]
