"""The file that a worker touches, and the watchdog of systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emailqueue.conf import get_settings
from emailqueue.worker import heartbeat
from emailqueue.worker.heartbeat import EVERY, Heartbeat


def probe(file: Path, *seconds: str) -> subprocess.CompletedProcess[str]:
    """Run the probe that starts no Django."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "emailqueue.worker.heartbeat", str(file), *seconds],
        capture_output=True,
        text=True,
        check=False,
    )


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

    assert [record.message for record in caplog.records] == ["heartbeat fails"]


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


def test_the_setting_wants_an_absolute_path(queue_settings: Callable[..., None]) -> None:
    queue_settings(HEARTBEAT_FILE=Path("/run/emailqueue/alive"))

    assert get_settings().heartbeat_file == "/run/emailqueue/alive"
