"""The wheel in a project that has grown without it: applications, queues, users and a backend of its own."""

from __future__ import annotations

import os
from pathlib import Path

from redis import Redis

from emailqueue.testing import MailServer
from tests.support.installed import PATIENCE, Project, by_recipient
from tests.support.own_project import FILES, SETTINGS, own_lines


def test_a_project_keeps_its_own_applications_queues_backend_and_users(
    python: Path, mail_server: MailServer, valkey: Redis, tmp_path: Path
) -> None:
    """A German project that stamps its mails, writes reports, and knows its members by address and UUID."""
    project = Project(
        python, tmp_path / "host", settings=own_lines(port=mail_server.port), REDIS_URL=os.environ["REDIS_URL"]
    )
    for name, content in FILES.items():
        project.write(name, content)
    project.manage("emailqueue", "starter", "voting")
    project.set(*SETTINGS)
    mail_server.rules.append(("away@example.com", ["550 5.1.1 no such mailbox", "250 ok"]))
    project.manage("makemigrations", "members", "events")
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
