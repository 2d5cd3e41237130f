from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from pytest_django import Settings
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.housekeeping.thread import Housekeeper
from emailqueue.jobs.priority import QUEUES
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.store import INBOX
from emailqueue.testing import MailServer
from emailqueue.worker import EmailWorker
from emailqueue.worker.threads import GRACE
from tests.conftest import eventually
from tests.support.django_mail import deliver_by

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}

pytestmark = [pytest.mark.usefixtures("transactional_db"), pytest.mark.postgresql, pytest.mark.oldest]


def test_a_worker_ends_after_the_jobs_that_it_was_allowed(valkey: Redis, mailbox: MailServer) -> None:
    queue_bulk_emails("vote-confirmation", [f"reader-{number}@example.com" for number in range(5)], VOTE)
    began = time.monotonic()

    worked = EmailWorker(list(QUEUES), connection=valkey).work(max_jobs=2)

    assert worked
    assert len(mailbox.messages) == 2
    assert get_queue_stats().main.waiting == 3
    assert time.monotonic() - began < 15  # well before its next look at the figures


def test_a_worker_ends_when_it_was_idle_for_long_enough(valkey: Redis) -> None:
    began = time.monotonic()

    worked = EmailWorker(list(QUEUES), connection=valkey).work(max_idle_time=1)

    assert not worked
    assert 1 <= time.monotonic() - began < 15


class HangsUpSlowly(BaseEmailBackend):
    """A mail server that answers everything, and the goodbye no more."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        time.sleep(0.5)  # so that each thread has one
        return len(email_messages)

    def close(self) -> None:
        time.sleep(60)


@pytest.mark.slow  # ends after the grace that its connections get
def test_a_worker_ends_in_time_whatever_the_number_of_connections_that_hang(
    valkey: Redis, settings: Settings, queue_settings: Callable[..., None]
) -> None:
    deliver_by(settings, f"{__name__}.{HangsUpSlowly.__name__}")
    queue_settings(CONCURRENCY=4)
    queue_bulk_emails("vote-confirmation", [f"reader-{number}@example.com" for number in range(4)], VOTE)
    began = time.monotonic()

    EmailWorker(list(QUEUES), connection=valkey).work(burst=True)

    assert get_queue_stats().main.completed == 4
    assert GRACE <= time.monotonic() - began < 2 * GRACE


def test_the_statistics_line_tells_the_rate_also_of_the_first_mails(
    valkey: Redis, mailbox: MailServer, queue_settings: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    queue_settings(STATS_INTERVAL=1.0)
    valkey.hset("emailqueue:counters", "low:skipped", 3)
    queue_bulk_emails("vote-confirmation", [f"reader-{number}@example.com" for number in range(20)], VOTE)

    with caplog.at_level("INFO", logger="emailqueue.worker"):
        EmailWorker(list(QUEUES), connection=valkey).work(max_idle_time=2)

    first, second, *_later = [vars(record) for record in caplog.records if record.message == "statistics"]
    assert (first["completed"], first["rate"]) == (0, "0.0/s")
    assert (second["completed"], second["skipped"], second["failed"]) == (20, 3, 0)
    assert 0 < float(second["rate"].removesuffix("/s")) <= 25


def test_housekeeping_goes_on_after_an_error_that_nobody_foresaw(
    valkey: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    row = OutboxRow.objects.create(job_id="ab12", job={"written": "by a stranger"}, created_at=datetime.now(UTC))
    housekeeper = Housekeeper(valkey)
    housekeeper.start()
    eventually(lambda: "housekeeping waits" in caplog.messages)

    valkey.hset(INBOX, "d1", "no JSON")
    housekeeper.poke()

    eventually(lambda: DeadLetter.objects.filter(pk="d1").exists())
    housekeeper.stop()
    assert OutboxRow.objects.get() == row
