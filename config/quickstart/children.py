"""How quickstart starts workers and the web, and makes sure that none of them outlives it."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from django.conf import settings
from django.core.management import CommandError

GRACE = 10.0
"""Seconds that the children have to end in good order."""
LAST_LINES = 15


class Children:
    """Commands of manage.py, each in a process of its own that writes to a log of its own."""

    def __init__(self, *, logs: Path, environ: Mapping[str, str]) -> None:
        self._logs = logs
        self._environ = environ
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self, name: str, *arguments: str) -> None:
        """Start `manage.py ARGUMENTS...`."""
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
        with self._log(name).open("ab") as log:
            # A session of its own: Ctrl+C in the terminal reaches quickstart alone, which stops all in order.
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "config.quickstart.tied", str(os.getpid()), *command],
                cwd=settings.BASE_DIR,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise CommandError, with the end of its log, when a child has ended by itself."""
        for name, child in self._running.items():
            if child.poll() is not None:
                lines = self._log(name).read_text(errors="replace").splitlines()[-LAST_LINES:]
                raise CommandError(
                    f"{name} ended with exit code {child.returncode}. The end of {self._log(name)}:\n"
                    + "\n".join(f"    {line}" for line in lines)
                )

    def stop(self) -> None:
        """Ask all children to end, and kill those that have not when the grace is over."""
        for child in self._running.values():
            child.terminate()
        deadline = time.monotonic() + GRACE
        for child in self._running.values():
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._running.clear()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"
