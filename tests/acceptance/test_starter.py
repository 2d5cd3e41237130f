"""`manage.py emailqueue starter`, with the installed wheel: what it writes works, under any name that is free."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from emailqueue.testing import MailServer
from tests.conftest import ROOT
from tests.support.installed import PATIENCE, Project, install, run
from tests.support.own_project import APPLICATION, CALLS, PAGE, six_lines

COMMAND, NAMED = re.findall(r"python manage\.py (emailqueue starter(?: \w+)?)", PAGE)
TESTS = ("conftest.py", "settings.py", "acceptance/test_original_checks.py")
OF_THE_ENVIRONMENT = [
    "import os",
    'DATABASES["default"]["NAME"] = os.environ["DATABASE_URL"].removeprefix("sqlite:///")',
    'DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}',
    'DEFAULT_FROM_EMAIL = os.environ["DEFAULT_FROM_EMAIL"]',
    'EMAIL_QUEUE |= {"FRONTEND_URL": os.environ["FRONTEND_URL"], "RATE_LIMIT": "0"}',
]
"""What the tests say to the example project by its environment, and it is for a project to say in its settings."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_starter_passes_the_thirteen_checks_of_the_original(wheel: Path, tmp_path: Path) -> None:
    others = ("pytest", "pytest-django", "pytest-timeout", "hypothesis")
    python = install(tmp_path / "venv", f"{wheel}[embedded,testing]", *others)
    project = Project(python, tmp_path / "new", settings=six_lines(port=25), name="config")
    project.manage(*COMMAND.split())
    port = ["EMAIL_HOST, EMAIL_PORT = '127.0.0.1', int(os.environ['EMAIL_PORT'])"]
    if hasattr(settings, "MAILERS"):
        port = ['MAILERS["smtp"]["OPTIONS"] = {"host": "127.0.0.1", "port": int(os.environ["EMAIL_PORT"])}']
    project.set(APPLICATION, *OF_THE_ENVIRONMENT, *port)
    for name in TESTS:
        project.write(f"tests/{name}", (ROOT / "tests" / name).read_text())

    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "--ds",
        "tests.settings",
        "-o",
        "pythonpath=.",
        "--import-mode=importlib",
    )
    said = run(python, "-m", "pytest", *options, "tests", cwd=project.folder, env=project.environ)

    assert re.search(r"^13 passed", said, flags=re.MULTILINE), said


def test_the_calls_of_the_page_send_the_mails_of_the_starter(
    python: Path, mail_server: MailServer, tmp_path: Path
) -> None:
    project = Project(python, tmp_path / "new", settings=six_lines(port=mail_server.port))
    said = project.manage(*NAMED.split())
    project.set(*re.findall(r"^    (INSTALLED_APPS .*)$", said, flags=re.MULTILINE))
    project.manage("migrate")
    project.manage("check", "--fail-level", "WARNING")
    project.write("calls.py", CALLS.replace("from events", "from voting"))

    with project.worker():
        project.shell("import calls")
        mails = {mail.message["Subject"] for mail in mail_server.wait_for(2, timeout=PATIENCE)}

    assert mails == {"Your reward is here: Gold badge", "Your vote for Aurora is in"}
    written = re.findall(r"^voting/\S+$", said, flags=re.MULTILINE)
    assert sorted(written) == sorted(str(path.relative_to(project.folder)) for path in of(project.folder / "voting"))
    ours = {path.name: path for path in of(project.folder / "voting")}
    assert not [
        name for name, path in ours.items() if re.search(rb"(?<!emailqueue\.)\bevents\b[./]", path.read_bytes())
    ]
    assert "class VotingConfig(AppConfig)" in ours["apps.py"].read_text()
    project.manage("emailqueue", "preview", "--language", "de")
    assert "Ihre Stimme für Aurora" in (project.folder / "preview" / "vote-confirmation.de.txt").read_text()


def of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
