"""
The file that a worker's main loop touches, so that a probe can tell a living worker from one that hangs.

A probe in a container runs `python -m emailqueue.heartbeat FILE [SECONDS]`, which starts no Django and asks no server:
a worker that waits for Redis is alive. It exits with 0 while the file is younger than SECONDS (30), else with 1.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger("emailqueue.worker")

EVERY = 2.0
"""Seconds between two beats."""
STALE_AFTER = 30.0
"""Seconds without a beat after which a worker hangs: its longest call of Redis takes five, and a busy machine more."""


class Heartbeat:
    """
    Touches a file at most every two seconds, or none when `path` is empty. A failure ends no worker.

    Under systemd it tells its watchdog, too: the socket that `environ` names in NOTIFY_SOCKET (see sd_notify(3)).
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._path = Path(path) if path else None
        self._watchdog = environ.get("NOTIFY_SOCKET", "") if environ.get("WATCHDOG_USEC") else ""
        self._clock = clock
        self._failing = False
        self.next = 0.0 if path or self._watchdog else float("inf")
        """When the next beat is due, by `clock`."""

    def beat(self) -> None:
        """Touch the file, and tell the watchdog, if it is time."""
        now = self._clock()
        if now < self.next or self.next == float("inf"):
            return
        self.next = now + EVERY
        try:
            if self._path is not None:
                self._path.touch()
            if self._watchdog:
                self._notify(b"WATCHDOG=1")
        except OSError as error:
            if not self._failing:
                logger.warning("heartbeat cannot be told", extra={"error": str(error)})
            self._failing = True
        else:
            self._failing = False

    def end(self) -> None:
        """Remove the file: this worker has ended, and does not hang."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()

    def _notify(self, state: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.setblocking(False)
            # A name that begins with @ has no file: its first byte is NUL.
            notify.sendto(state, self._watchdog.replace("@", "\0", 1) if self._watchdog[0] == "@" else self._watchdog)


def age(path: str, *, clock: Callable[[], float] = time.time) -> float | None:
    """Return the seconds since the last beat; None without a file."""
    try:
        return max(0.0, clock() - Path(path).stat().st_mtime)
    except OSError:
        return None


def tell(path: str, *, stale_after: float = STALE_AFTER) -> tuple[bool, str]:
    """Return whether the worker of that file lives, and a sentence about it."""
    seconds = age(path)
    if seconds is None:
        return False, f"No worker has touched {path}: it has not begun, or it has ended."
    if seconds > stale_after:
        return False, f"The worker hangs: it touched {path} {seconds:.0f} s ago."
    return True, f"The worker lives: it touched {path} {seconds:.0f} s ago."


def main(arguments: list[str]) -> int:
    """Do what the module's docstring says, and return the exit status."""
    if len(arguments) not in (1, 2):
        sys.stderr.write("Use: python -m emailqueue.heartbeat FILE [SECONDS]\n")
        return 2
    lives, sentence = tell(arguments[0], stale_after=float(arguments[1]) if len(arguments) > 1 else STALE_AFTER)
    sys.stdout.write(f"{sentence}\n")
    return 0 if lives else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
