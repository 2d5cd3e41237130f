"""Workers, Valkey and the database stop and come back; no mail is lost."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from django.db import connection as database
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.models import DeadLetter
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.testing import MailServer
from events import queue_vote_confirmation
from tests.conftest import StartWorker, database_url, eventually
from tests.support.crashes import VOTE, addresses, all_completed, locked_database

pytestmark = pytest.mark.usefixtures("valkey", "transactional_db")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_stops_under_load_lose_double_and_charge_no_mail(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    mailbox.delay = 0.05
    queue_bulk_emails("vote-confirmation", addresses(600), VOTE)

    for _ in range(20):
        worker = start_worker()
        sent = len(mailbox.messages)
        mailbox.wait_for(sent + 10, timeout=30)
        assert get_queue_stats().main.waiting > 0
        assert worker.stop() == 0, worker.log.read_text()

    stats = get_queue_stats().main
    assert stats.active == 0
    assert stats.completed == len(mailbox.messages)
    start_worker()
    all_completed(600, within=60)
    assert Counter(mail.recipient for mail in mailbox.messages) == Counter(addresses(600))
    stats = get_queue_stats().main
    assert (stats.retried, stats.failed, stats.ambiguous) == (0, 0, 0)
    assert not any(
        valkey.hexists(key, field) for key in valkey.scan_iter("rq:job:*") for field in ("history", "crashes")
    )


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["rcpt", "body"])
def test_workers_go_on_by_themselves_when_valkey_was_killed_and_is_back(
    phase: str, mailbox: MailServer, start_worker: StartWorker, valkey_server: EmbeddedValkey, valkey: Redis
) -> None:
    valkey.config_set("appendfsync", "always")  # what was acknowledged is on the disk
    mailbox.script(phase, ["stall 2"])
    queue_vote_confirmation("running@example.com", VOTE)
    worker = start_worker(EMAIL_CONCURRENCY="1")
    eventually(lambda: mailbox.attempts if phase == "rcpt" else mailbox.messages, timeout=20)
    queue_bulk_emails("vote-confirmation", addresses(20), VOTE)

    valkey_server.kill()
    # Until the mail that runs has met a Valkey that is away: at its fence, or when it settles.
    eventually(lambda: "redis is away" in worker.log.read_text(), timeout=20)
    time.sleep(2)
    valkey_server.start()

    all_completed(21)
    assert Counter(mail.recipient for mail in mailbox.messages) == Counter([*addresses(20), "running@example.com"])
    stats = get_queue_stats().main
    assert (stats.failed, stats.retried, stats.ambiguous) == (0, 0, 0)
    assert worker.process.poll() is None


@pytest.mark.skipif(database.vendor != "sqlite", reason="makes SQLite give up on a locked database")
def test_a_letter_that_dies_while_the_database_refuses_gets_to_its_table_later(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    mailbox.rules.append(("nobody@example.com", ["550 5.1.1 no such mailbox"]))
    worker = start_worker(DATABASE_URL=f"{database_url()}?timeout=1").ready()

    with locked_database():
        queue_vote_confirmation("nobody@example.com", VOTE)
        eventually(lambda: valkey.hlen("emailqueue:dead") == 1 and "housekeeping waits" in worker.log.read_text())
        queue_vote_confirmation("ada@example.com", VOTE)
        mailbox.wait_for(1)

    eventually(DeadLetter.objects.exists, timeout=20)
    assert DeadLetter.objects.get().recipient == "nobody@example.com"
    eventually(lambda: not valkey.hlen("emailqueue:dead"))
    assert [mail.recipient for mail in mailbox.messages] == ["ada@example.com"]
