"""
The file that a worker's main loop touches, so that a probe can tell a living worker from one that hangs.

A probe in a container runs `python -m emailqueue.worker.heartbeat FILE [SECONDS]`, which starts no Django and asks
no server: a worker that waits for Redis is alive. It exits with 0 while the file is younger than SECONDS (30), else
with 1.
"""

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

    The file holds the name of `worker` and its process, so that a killed worker does not pass for a living one.
    Under systemd it notifies the watchdog, too: the socket that `environ` names in NOTIFY_SOCKET (see sd_notify(3)).
    """

    def __init__(
        self,
        path: str,
        *,
        worker: str = "",
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._path = Path(path) if path else None
        self._worker = worker
        self._watchdog = environ.get("NOTIFY_SOCKET", "") if _is_watched(environ) else ""
        self._clock = clock
        self._failing = False
        self.next = 0.0 if path or self._watchdog else float("inf")
        """When the next beat is due, by `clock`."""
        self.end()  # of the worker that was here before, and was killed

    def beat(self) -> None:
        """Notify the watchdog, and touch the file, if it is time."""
        now = self._clock()
        if now < self.next or self.next == float("inf"):
            return
        self.next = now + EVERY
        # The watchdog first, and whatever becomes of the file: systemd kills a worker that does not notify it.
        errors = []
        for act in (self._notify, self._touch):
            try:
                act()
            except OSError as error:
                errors.append(error)
        if errors and not self._failing:
            logger.warning("heartbeat fails", extra={"error": str(errors[0])})
        self._failing = bool(errors)

    def end(self) -> None:
        """Remove the file: this worker has ended, and does not hang."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()

    def _touch(self) -> None:
        if self._path is None:
            return
        if self._path.exists():
            os.utime(self._path)
        else:
            self._path.write_text(f"{os.getpid()} {_begun(os.getpid())} {self._worker}\n")

    def _notify(self) -> None:
        if not self._watchdog:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.setblocking(False)
            # A name that begins with @ has no file: its first byte is NUL.
            address = self._watchdog.replace("@", "\0", 1) if self._watchdog[0] == "@" else self._watchdog
            notify.sendto(b"WATCHDOG=1", address)


def _is_watched(environ: Mapping[str, str]) -> bool:
    # A child inherits the variables of its parent, whom alone they may concern (sd_watchdog_enabled(3)).
    return bool(environ.get("WATCHDOG_USEC")) and environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))


def _begun(pid: int) -> str:
    """Return when that process began, in ticks since the machine did; 0 where it is gone or nothing says it."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "0"
    return "0" if state == "Z" else fields[18]


def worker_of(path: str) -> str | None:
    """Return the name of the worker that touches the file, or None when it has not begun or its process is gone."""
    with suppress(OSError, ValueError):
        pid, begun, name = Path(path).read_text().split(maxsplit=2)
        # By its beginning, too: the first process of each container has the number 1.
        if _begun(int(pid)) == begun:
            return name.strip()
    return None


def age(path: str, *, clock: Callable[[], float] = time.time) -> float | None:
    """Return the seconds since the last beat; None without a file."""
    try:
        return max(0.0, clock() - Path(path).stat().st_mtime)
    except OSError:
        return None


def describe(path: str, *, stale_after: float = STALE_AFTER) -> tuple[bool, str]:
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
        sys.stderr.write("Use: python -m emailqueue.worker.heartbeat FILE [SECONDS]\n")
        return 2
    lives, sentence = describe(arguments[0], stale_after=float(arguments[1]) if len(arguments) > 1 else STALE_AFTER)
    sys.stdout.write(f"{sentence}\n")
    return 0 if lives else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
