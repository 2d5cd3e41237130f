"""The Dockerfile's steps, run one by one in a folder: what they build starts, answers its health check and works."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import ROOT, eventually
from tests.support.deployment import dockerfile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Build:
    """A build stage whose absolute paths lie in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(root), "TMPDIR": str(root)}

    def run(self, name: str, arguments: str) -> None:
        """Do what one instruction says."""
        arguments = re.sub(r"(?<![\w./-])/(venv|src|app)\b", lambda found: f"{self.root}/{found[1]}", arguments)
        match name:
            case "ENV":
                self.environ |= {
                    variable: value.replace("$PATH", self.environ["PATH"])
                    for variable, value in (word.split("=", 1) for word in arguments.split())
                }
            case "WORKDIR":
                self.folder = Path(arguments)
                self.folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = arguments.split()
                for source in sources:
                    self._copy(ROOT / source, self.folder / target)
            case "RUN":
                command = arguments.replace("python -m venv", f"{sys.executable} -m venv")
                subprocess.run(["/bin/sh", "-ec", command], cwd=self.folder, env=self.environ, check=True)
            case _:
                raise AssertionError(f"The build stage has an instruction that is not known here: {name} {arguments}")

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Build:
    build = Build(tmp_path_factory.mktemp("image"))
    starts = [number for number, (name, _) in enumerate(dockerfile()) if name == "FROM"]
    for name, arguments in dockerfile()[starts[0] + 1 : starts[1]]:
        build.run(name, arguments)
    return build


@pytest.fixture
def environ(image: Build, valkey: Redis, tmp_path: Path) -> Mapping[str, str]:
    """The environment of a container in production."""
    return {
        "PATH": image.environ["PATH"],
        "DEBUG": "0",
        "SECRET_KEY": "of the image",
        "ALLOWED_HOSTS": "mail.example",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "REDIS_URL": os.environ["REDIS_URL"],
        "EMAIL_HOST": "127.0.0.1",
        "FRONTEND_URL": "https://front.example",
        "EMAIL_HEARTBEAT_FILE": f"{tmp_path}/alive",
    }


@pytest.fixture
def running(image: Build, environ: Mapping[str, str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def words(name: str) -> list[str]:
    """Return the words of the last stage's instruction, which is in exec form."""
    arguments = dict(dockerfile())[name]
    said: list[str] = json.loads(arguments[arguments.index("[") :])
    return said


def test_the_web_of_the_image_answers_its_health_check_and_ends_on_sigterm(
    image: Build, environ: Mapping[str, str], running: list[subprocess.Popen[bytes]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    app = image.root / "app"
    in_app = {"cwd": app, "env": {**environ, "PORT": port}}
    subprocess.run(["python", "manage.py", "migrate", "--noinput"], check=True, stdout=subprocess.DEVNULL, **in_app)  # type: ignore[call-overload]
    server = [word.replace("8000", port) for word in words("CMD")]

    running.append(subprocess.Popen([image.root / "venv/bin" / server[0], *server[1:]], **in_app))  # type: ignore[call-overload]

    def healthy() -> bool:
        return subprocess.run(words("HEALTHCHECK"), stdout=subprocess.DEVNULL, check=False, **in_app).returncode == 0  # type: ignore[call-overload,no-any-return]

    eventually(healthy, 30, every=0.5)
    running[0].send_signal(signal.SIGTERM)
    assert running[0].wait(30) == 0
    assert (app / "staticfiles" / "emailqueue" / "admin.css").is_file()


def test_a_worker_of_the_image_beats_and_ends_on_sigterm(
    image: Build, environ: Mapping[str, str], running: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    python = image.root / "venv/bin/python"
    in_app = {"cwd": image.root / "app", "env": dict(environ)}
    subprocess.run([python, "manage.py", "migrate", "--noinput"], check=True, stdout=subprocess.DEVNULL, **in_app)  # type: ignore[call-overload]
    worker = [python, "manage.py", "rqworker", "critical", "high", "normal", "low", "events"]

    running.append(subprocess.Popen(worker, **in_app))  # type: ignore[call-overload]

    eventually((tmp_path / "alive").exists, 30)
    probe = subprocess.run(
        [python, "-m", "emailqueue.worker.heartbeat", str(tmp_path / "alive")], check=False, **in_app
    )  # type: ignore[call-overload]
    assert probe.returncode == 0
    running[0].send_signal(signal.SIGTERM)
    assert running[0].wait(30) == 0
