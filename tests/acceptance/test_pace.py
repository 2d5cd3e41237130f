from __future__ import annotations

import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, cast

import pytest
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.testing import MailServer
from events import queue_rank_update, queue_vote_confirmation
from tests.conftest import StartWorker, eventually

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}
RANK = {"model_name": "Tern", "rank_position": 3, "previous_rank": 5, "vote_count": 420}
PROGRESS = {"model_name": "Tern", "vote_count": 500, "milestone": 500}
CONCURRENCY = 5

pytestmark = [pytest.mark.usefixtures("valkey", "transactional_db"), pytest.mark.alone]


def test_a_critical_mail_behind_ten_thousand_slow_ones_goes_out_next(
    mailbox: MailServer, start_worker: StartWorker
) -> None:
    mailbox.delay = 0.3
    queue_ten_thousand()
    start_worker(EMAIL_CONCURRENCY=str(CONCURRENCY))
    mailbox.wait_for(4 * CONCURRENCY, timeout=30)

    before = mails_before_a_critical_one(mailbox, "ada@example.com")

    assert before <= CONCURRENCY
    assert get_queue_stats().main.waiting > 9_000


def test_a_critical_mail_behind_ten_thousand_fast_ones_goes_out_next(
    mailbox: MailServer, start_worker: StartWorker
) -> None:
    queue_ten_thousand()
    start_worker(EMAIL_CONCURRENCY=str(CONCURRENCY))
    mailbox.wait_for(100, timeout=30)

    before = [mails_before_a_critical_one(mailbox, f"ada-{number}@example.com") for number in range(5)]

    # The best one, since a busy machine may stop the worker at any point.
    assert min(before) <= CONCURRENCY, before
    assert get_queue_stats().main.waiting > 5_000


def test_three_workers_together_claim_ten_mails_a_second_and_never_more(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    workers = [start_worker(EMAIL_RATE_LIMIT="10/s") for _ in range(3)]
    for worker in workers:
        worker.ready()
    queue_bulk_emails("vote-confirmation", [f"reader-{number}@example.com" for number in range(400)], VOTE)

    mailbox.wait_for(125, timeout=30)

    claims = claim_times(valkey)
    in_the_second_after = [sum(first <= claim < first + 1 for claim in claims) for first in claims]
    assert max(in_the_second_after) <= 10
    assert (len(claims) - 1) / (claims[-1] - claims[0]) >= 9.5
    busy = {mail.connection for mail in mailbox.messages}
    assert len(busy) >= len(workers)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_an_idle_worker_asks_little_and_starts_a_mail_at_once(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    start_worker().ready()
    time.sleep(2)
    valkey.config_resetstat()
    began = time.monotonic()
    time.sleep(62)
    calls = commands(valkey)
    minutes = (time.monotonic() - began) / 60

    delays = []
    for number in range(7):
        address = f"reader-{number}@example.com"
        called = time.time()
        queue_vote_confirmation(address, VOTE)
        mailbox.wait_for(number + 1)
        delays.append(next(moment for moment, recipient in mailbox.attempts if recipient == address) - called)
        time.sleep(0.3)

    assert sum(calls.values()) / minutes <= 110, calls
    assert min(delays) < 0.020, delays


def queue_ten_thousand() -> None:
    queue_bulk_emails("progress-update", [f"reader-{number}@example.com" for number in range(10_000)], PROGRESS)


def mails_before_a_critical_one(mailbox: MailServer, address: str) -> int:
    """Queue a critical mail and return how many others the mail server was given between this and that mail."""
    queue_rank_update(address, RANK)
    queued = time.time()
    eventually(lambda: address in {recipient for _, recipient in mailbox.attempts})
    recipients = [recipient for moment, recipient in mailbox.attempts if moment > queued]
    return recipients.index(address) if address in recipients else 0


def claim_times(valkey: Redis) -> list[Fraction]:
    """Return when each job was claimed by the clock of Redis, exactly."""
    claimed_at = [valkey.hget(key, "claimed_at") for key in valkey.scan_iter("rq:job:*", count=1000)]
    return sorted(Fraction(cast(bytes, moment).decode()) for moment in claimed_at if moment)


def commands(valkey: Redis) -> Mapping[str, int]:
    """Return how often each command ran since the statistics were reset, those of scripts included."""
    statistics: Mapping[str, Any] = valkey.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in statistics.items()}
    return {name: count for name, count in calls.items() if name not in ("info", "config", "config|resetstat")}
