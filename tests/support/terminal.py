"""A terminal that a reader of the tutorial types into, and what is to be seen in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.conftest import eventually

PATIENCE = 120.0
"""Seconds. The installation takes a tenth of that, all else a hundredth, on a free core."""


class Terminal:
    """One window: it keeps its folder and its environment from command to command, and all that was printed."""

    def __init__(self, name: str, *, folder: Path, logs: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._log = logs / f"{name}.log"
        self._state = logs / f"{name}.environ"
        self._running: subprocess.Popen[bytes] | None = None
        self._read = 0
        """How far the reader has read."""

    def run(self, command: str) -> str:
        """Run a command to its end, and return what it printed; it must succeed."""
        process = self._start(f'{command}\nstatus=$?; env -0 >"{self._state}"; exit $status')
        code = process.wait(PATIENCE)
        printed = self._unread()
        assert code == 0, f"{command!r} ended with {code}:\n{printed}"
        self._environ = dict(entry.split("=", 1) for entry in self._state.read_text().split("\0") if entry)
        self._read += len(printed)
        return printed

    def begin(self, command: str) -> None:
        """Run a command that stays."""
        self._start(f"exec {command}")

    def expect(self, shown: str) -> None:
        """Wait until the command that stays has printed these lines in their order, others between them or not."""
        for line in shown.splitlines():
            if line.strip("… "):
                self._expect_line(line)

    def interrupt(self) -> int:
        """Press Ctrl+C, and return the exit code."""
        assert self._running
        os.killpg(self._running.pid, signal.SIGINT)
        return self._running.wait(PATIENCE)

    def close(self) -> None:
        """End what still runs."""
        if self._running and self._running.poll() is None:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    def _start(self, script: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._running

    def _expect_line(self, line: str) -> None:
        pattern = re.compile(f"^{as_pattern(line)}$", re.MULTILINE)
        process = self._running
        assert process, "Nothing runs in this terminal."
        try:
            eventually(lambda: pattern.search(self._unread()) or process.poll() is not None, PATIENCE / 2)
        except AssertionError as error:
            raise AssertionError(f"{line!r} was not printed, but:\n{self._unread()}") from error
        found = pattern.search(self._unread())
        assert found, f"The program ended, and printed, in place of {line!r}:\n{self._unread()}"
        self._read += found.end()

    def _unread(self) -> str:
        return self._log.read_text()[self._read :]


def is_shown(printed: str, shown: str) -> bool:
    """Return whether a page may show `shown` as what was printed, see as_pattern()."""
    pattern = "".join(r"(?:.*\n)*" if line.strip() == "…" else f"{as_pattern(line)}\n" for line in shown.splitlines())
    return bool(re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else f"{printed}\n"))


def as_pattern(line: str) -> str:
    """Return what a line stands for: … for anything, an id for any id."""
    return re.sub(r"[0-9a-f]{32}", r"[0-9a-f]{32}", re.escape(line.rstrip())).replace("…", ".*") + r"[ \t]*"
