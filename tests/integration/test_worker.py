from __future__ import annotations

import time

import pytest
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.priority import QUEUES
from emailqueue.testing import MailServer
from emailqueue.worker import EmailWorker

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}

pytestmark = pytest.mark.usefixtures("transactional_db")


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
