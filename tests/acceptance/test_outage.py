"""The mail server goes away in the middle of the work: nothing is charged, doubled or lost, and the order holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.dispatch import Signal
from redis import Redis

from emailqueue import flow, get_queue_stats, queue_bulk_emails
from emailqueue.models import DeadLetter
from emailqueue.signals import outage_began, outage_ended
from emailqueue.testing import MailServer
from tests.conftest import StartWorker, Work, eventually

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}

pytestmark = pytest.mark.usefixtures("valkey", "transactional_db")


@pytest.mark.slow
def test_ten_seconds_without_a_mail_server_cost_no_mail_anything(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    addresses = [f"reader-{number:04}@example.com" for number in range(1000)]
    for _ in range(2):
        start_worker(EMAIL_RATE_LIMIT="200/s")
    queue_bulk_emails("vote-confirmation", addresses, VOTE)
    mailbox.wait_for(300, timeout=30)

    # Between two mails: one that the server has in hand may have arrived, and goes out again, marked.
    flow.pause()
    eventually(lambda: get_queue_stats().main.active == 0)
    mailbox.stop()
    absent = MailServer(port=mailbox.port)
    absent.script("connect", ["drop"] * 100)
    with absent:
        flow.resume()
        eventually(lambda: get_queue_stats().outages)
        time.sleep(10)
    before = len(mailbox.messages)
    next_probe = float(valkey.hget(f"emailqueue:outage:127.0.0.1:{mailbox.port}", "next") or 0) / 1_000_000
    mailbox.start()

    mailbox.wait_for(before + 1, timeout=30)
    assert mailbox.messages[before].received_at - next_probe < 2
    assert len(absent.calls) <= 15, absent.calls
    eventually(lambda: get_queue_stats().main.completed == 1000, timeout=30, every=0.05)
    assert set(Counter(mail.recipient for mail in mailbox.messages).values()) == {1}
    stats = get_queue_stats()
    assert (stats.main.failed, stats.main.retried, stats.main.ambiguous, stats.outages) == (0, 0, 0, {})
    assert not DeadLetter.objects.exists()
    received = [addresses.index(mail.recipient) for mail in mailbox.messages]
    # The ten threads of two workers end in any order, and what they hold meets the outage in any order.
    assert max(abs(at - place) for at, place in enumerate(received)) <= 50


def test_a_refused_account_is_told_once_by_log_and_signal(
    mailbox: MailServer, valkey: Redis, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Mapping[str, Any]] = []

    def listen(*, signal: Signal, sender: object, **words: Any) -> None:
        told.append(words)

    outage_began.connect(listen)
    outage_ended.connect(listen)
    mailbox.script("mail", ["535 5.7.8 bad credentials"] * 2)
    queue_bulk_emails("vote-confirmation", ["ada@example.com", "bo@example.com"], VOTE)

    try:
        while len(mailbox.messages) < 2:
            work()
            time.sleep(0.2)
    finally:
        outage_began.disconnect(listen)
        outage_ended.disconnect(listen)

    server = f"127.0.0.1:{mailbox.port}"
    assert told == [
        {"server": server, "account_refused": True, "error": "535 5.7.8 bad credentials"},
        {"server": server},
    ]
    critical = [record.message for record in caplog.records if record.levelname == "CRITICAL"]
    assert critical == ["mail server refuses our account, mail waits"]
    assert get_queue_stats().main.retried == 0


def test_a_mail_that_the_server_does_not_bear_does_not_keep_the_others(mailbox: MailServer, work: Work) -> None:
    mailbox.rules.append(("poison@example.com", ["530 5.7.0 not with me"]))
    addresses = ["poison@example.com", *(f"reader-{number}@example.com" for number in range(30))]
    queue_bulk_emails("vote-confirmation", addresses, VOTE, backoff={"type": "fixed", "delay": 0.05})

    until = time.monotonic() + 20
    while not DeadLetter.objects.exists() and time.monotonic() < until:
        work(seconds=0.1)
        time.sleep(0.1)

    assert Counter(mail.recipient for mail in mailbox.messages) == Counter(addresses[1:])
    letter = DeadLetter.objects.get()
    assert (letter.recipient, letter.reason, letter.attempts_charged) == ("poison@example.com", "exhausted", 3)


def test_a_mail_that_outwaits_its_age_in_an_outage_becomes_a_dead_letter_without_a_try(
    mailbox: MailServer, work: Work, queue_settings: Callable[..., None]
) -> None:
    queue_settings(MAX_AGE=1)
    mailbox.stop()
    queue_bulk_emails("vote-confirmation", ["ada@example.com", "bo@example.com"], VOTE)
    work()
    time.sleep(1.1)
    queue_bulk_emails("vote-confirmation", ["cy@example.com"], VOTE)
    mailbox.start()

    until = time.monotonic() + 10
    while not mailbox.messages and time.monotonic() < until:
        work()
        time.sleep(0.2)

    letters = DeadLetter.objects.order_by("recipient")
    assert [(letter.recipient, letter.reason, letter.attempts_charged) for letter in letters] == [
        ("ada@example.com", "expired", 0),
        ("bo@example.com", "expired", 0),
    ]
    assert [letter.get_reason_display() for letter in letters] == ["waited too long"] * 2
    assert [mail.recipient for mail in mailbox.messages] == ["cy@example.com"]
    letters[0].retry()
    work()
    mailbox.wait_for(2)
