"""What the wheel holds, and what it brings to a new project: the queue, and no one's mails."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import polib
import pytest

from emailqueue.testing import MailServer
from tests.conftest import ROOT
from tests.support.installed import PATIENCE, Project, by_recipient
from tests.support.own_project import six_lines

STARTER = "emailqueue/starter/"
VOTING = re.compile(
    r"\bvot(e|er|es|ing)\b|vote[-_.]|model_id|(?<!opts\.)model_name|rank[-_](update|position|changed)|reward|referral|milestone|Aurora",
    re.IGNORECASE,
)
"""The words of the example project."""


def test_the_wheel_holds_one_package_with_every_file_of_it_and_the_starter(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert packed == files("emailqueue") | {
        re.sub(r"\.py$", ".py-tpl", f"{STARTER}{name}") for name in files("events") | files("templates/events")
    }
    assert {"emailqueue/py.typed", "emailqueue/locale/de/LC_MESSAGES/django.mo"} <= packed
    assert f"{STARTER}events/locale/de/LC_MESSAGES/django.mo" in packed


def test_nothing_in_the_wheel_but_the_starter_speaks_of_anyones_mails(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = [name for name in archive.namelist() if not name.startswith(STARTER) and ".dist-info/" not in name]

    speaking = {name: VOTING.findall(text_of(archive.read(name), name)) for name in names}

    assert {name: found for name, found in speaking.items() if found} == {}


def test_six_lines_bring_the_queue_to_a_new_project(python: Path, mail_server: MailServer, tmp_path: Path) -> None:
    project = Project(python, tmp_path / "new", settings=six_lines(port=mail_server.port))
    project.manage("migrate")

    with project.worker():
        project.shell("""
            from django.core.mail import EmailMessage, send_mail

            send_mail("Welcome", "It is good to have you.", "shop@example.com", ["plain@example.com"])
            message = EmailMessage("Your invoice", "See the file.", "shop@example.com", ["attached@example.com"])
            message.attach("invoice.pdf", b"%PDF-1.7", "application/pdf")
            message.send()
        """)
        mails = by_recipient(mail_server.wait_for(2, timeout=PATIENCE))

    assert sorted(mails) == [f"{name}@example.com" for name in ("attached", "plain")]
    assert mails["plain@example.com"].get_content() == "It is good to have you.\n"
    (invoice,) = mails["attached@example.com"].iter_attachments()
    assert (invoice.get_filename(), invoice.get_content()) == ("invoice.pdf", b"%PDF-1.7")


def test_a_new_project_has_no_type_no_topic_and_no_page_of_anyone_elses(python: Path, tmp_path: Path) -> None:
    project = Project(python, tmp_path / "bare", settings=[*six_lines(port=25), 'ALLOWED_HOSTS = ["testserver"]'])
    project.manage("migrate")

    shown = project.shell("""
        from django.contrib.auth.models import User
        from django.test import Client
        from django.urls import reverse
        from emailqueue import queue_email
        from emailqueue.email_types import email_types
        from emailqueue.errors import UnknownEmailType
        from emailqueue.events.topics import all_topics

        print("types", dict(email_types()), "topics", dict(all_topics()))
        client = Client()
        client.force_login(User.objects.create_superuser("ada"))
        for page in ("index", "emailqueue_deadletter_changelist", "emailqueue_types", "emailqueue_stats"):
            print(client.get(reverse(f"admin:{page}")).content.decode())
        try:
            queue_email("order-shipped", "ada@example.com", {})
        except UnknownEmailType as error:
            print(error)
    """)
    preview = project.manage("emailqueue", "preview")
    listed = project.manage("events", "list")
    simulated = project.manage("events", "simulate", "order.shipped", "{}", fails=True)

    assert "types {} topics {}" in shown
    assert "No e-mail type is registered." in shown
    assert "'order-shipped' is not an e-mail type. None is registered yet: use register()." in shown
    assert preview == "No e-mail type has a sample. Give it one: EmailType(..., sample={...}).\n"
    assert listed == "No topic is defined.\n"
    assert "'order.shipped' is not a topic. None is defined yet: use Topic()." in simulated
    assert VOTING.findall(shown) == []


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


def files(folder: str) -> set[str]:
    """Return the files of a folder of the checkout, as the wheel names them."""
    here = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(ROOT)) for path in here}


def text_of(content: bytes, name: str) -> str:
    """Return the text of a file; of a compiled catalogue, its messages."""
    return str(polib.mofile(content) if name.endswith(".mo") else content.decode())
