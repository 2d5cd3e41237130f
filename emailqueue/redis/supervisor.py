"""
The process between the starter of the embedded Valkey and Valkey itself: `python -m emailqueue.redis.supervisor`.

It ends Valkey as soon as its standard input ends, which only the starter holds open. So Valkey goes with its starter,
for whatever reason that goes, kill -9 included.
"""

import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


def main(data_dir: Path, command: list[str]) -> int:
    """Run Valkey by `command` until standard input ends, and return its exit code."""
    with (data_dir / "server.lock").open("ab") as lock:
        if not _wait_for_turn(lock):
            return 0
        # Valkey itself inherits the lock: while one lives, in whatever state, none may open the same files.
        server = subprocess.Popen(  # noqa: S603 - put together by the starter
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[lock.fileno()],
            preexec_fn=_die_with_parent() if sys.platform == "linux" else None,  # noqa: PLW1509 - one thread so far
        )
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    threading.Thread(target=_stop_at_end_of_input, args=[server], daemon=True).start()
    return server.wait()


def _wait_for_turn(lock: IO[bytes]) -> bool:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if select.select([sys.stdin], [], [], 0.02)[0]:
                return False
        else:
            return True


def _die_with_parent() -> Callable[[], None]:
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:  # pragma: no cover - between fork and exec
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return prepare


def _stop_at_end_of_input(server: subprocess.Popen[bytes]) -> None:
    sys.stdin.buffer.read()
    server.terminate()
    try:
        server.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
