"""What was committed is sent, whatever Redis, the web process or a worker does at that moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.events import get_event_stats, publish
from emailqueue.models import OutboxRow
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.store import Store
from emailqueue.testing import MailServer
from events import queue_vote_confirmation
from tests.conftest import ROOT, StartWorker, database_url, eventually
from tests.support.valkey_proxy import ValkeyProxy

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}
RANK = {"model_id": 7, "model_name": "Tern", "new_rank": 3, "old_rank": 5, "vote_count": 420}
SHORT_LEASES = {"DJANGO_SETTINGS_MODULE": "tests.support.short_leases"}
ALWAYS = {"EMAIL_OUTBOX": "always"}

pytestmark = pytest.mark.usefixtures("valkey", "transactional_db")


@pytest.fixture
def proxy(valkey_server: EmbeddedValkey, valkey: Redis, tmp_path: Path) -> Iterator[ValkeyProxy]:
    with ValkeyProxy(tmp_path / "proxy.sock", server=valkey_server.socket, valkey=valkey) as proxy:
        yield proxy


# A large audience


def test_five_thousand_supporters_are_told_once_although_five_workers_die_on_the_way(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis, proxy: ValkeyProxy
) -> None:
    supporters = addresses(5000)
    Store(valkey).enqueue([])  # so that the script is known
    valkey.config_resetstat()
    publish("model.rank_changed", {**RANK, "supporter_emails": supporters})
    scripts = valkey.info("commandstats")["cmdstat_evalsha"]["calls"]

    for death in range(5):
        # The first three die while they store the mails, the others when these would become visible.
        proxy.hold_request("stage" if death < 3 else "settle", after=2 * death if death < 3 else 0)
        victim = start_worker(**SHORT_LEASES, REDIS_URL=proxy.url)
        eventually(proxy.held.is_set, timeout=40)
        assert get_queue_stats().main.waiting == len(mailbox.messages) == 0
        victim.kill()
        proxy.release()
    start_worker(**SHORT_LEASES, EMAIL_CONCURRENCY="20")

    eventually(lambda: get_queue_stats().main.completed == 5000, timeout=90, every=0.1)
    assert scripts == 1
    assert Counter(mail.recipient for mail in mailbox.messages) == Counter(supporters)
    assert get_queue_stats().main.ambiguous == get_queue_stats().dlq.count == 0


# Redis goes away under requests


def test_requests_neither_fail_nor_hang_while_redis_is_stopped_and_nothing_is_lost(
    mailbox: MailServer, start_worker: StartWorker, valkey_server: EmbeddedValkey, valkey: Redis
) -> None:
    valkey.config_set("appendfsync", "always")
    mails, voters = addresses(500), addresses(20, "voter")

    def in_the_middle(number: int) -> None:
        if number == 100:
            valkey_server.kill()

    took = requests(mails, voters, meanwhile=in_the_middle)
    kept = OutboxRow.objects.count()
    valkey_server.start()
    start_worker(EMAIL_CONCURRENCY="20")

    everything_arrives(mailbox, mails, voters)
    assert max(took) < 2
    assert kept >= 400
    assert OutboxRow.objects.count() == 0
    assert len(mailbox.messages) == len({mail.recipient for mail in mailbox.messages})


@pytest.mark.slow
def test_requests_neither_fail_nor_hang_while_redis_is_stalled_and_doubles_are_marked(
    mailbox: MailServer, start_worker: StartWorker, valkey_server: EmbeddedValkey, valkey: Redis
) -> None:
    mails, voters = addresses(500), addresses(20, "voter")
    server = valkey_server.pid
    stalled_at = 0.0

    def in_the_middle(number: int) -> None:
        nonlocal stalled_at
        if number == 100:
            os.kill(server, signal.SIGSTOP)
            stalled_at = time.monotonic()
        elif number in (200, 300):  # so that Redis is asked, in vain, more than once
            time.sleep(5)

    try:
        took = requests(mails, voters, meanwhile=in_the_middle)
        time.sleep(max(0.0, 12 - (time.monotonic() - stalled_at)))
    finally:
        os.kill(server, signal.SIGCONT)
    start_worker(EMAIL_CONCURRENCY="20")

    everything_arrives(mailbox, mails, voters)
    assert max(took) < 2
    assert doubled_unmarked(mailbox, valkey) == set()


def requests(mails: list[str], voters: list[str], *, meanwhile: Callable[[int], None]) -> list[float]:
    """Queue the mails and publish the votes as that many requests would; return how long each took."""
    took = []
    for number, address in enumerate([*mails, *voters]):
        meanwhile(number)
        began = time.monotonic()
        if address in voters:
            publish("vote.created", {"voter_email": address, "model_name": "Tern", "model_id": 7})
        else:
            queue_vote_confirmation(address, VOTE)
        took.append(time.monotonic() - began)
    return took


def everything_arrives(mailbox: MailServer, *recipients: list[str], within: float = 60) -> None:
    expected = {address for addresses in recipients for address in addresses}
    try:
        eventually(lambda: {mail.recipient for mail in mailbox.messages} >= expected, timeout=within, every=0.1)
    except AssertionError:
        missing = expected - {mail.recipient for mail in mailbox.messages}
        raise AssertionError(f"{len(missing)} did not arrive: {sorted(missing)[:5]}") from None
    nothing_is_under_way()


def nothing_is_under_way() -> None:
    def idle() -> bool:
        mails, events = get_queue_stats().main, get_event_stats()
        return not (mails.waiting or mails.active or mails.delayed or events.waiting or events.active or events.delayed)

    eventually(idle, timeout=30, every=0.1)


def doubled_unmarked(mailbox: MailServer, valkey: Redis) -> set[str]:
    """Return who got a mail twice without it being counted as maybe sent."""
    twice = {
        recipient for recipient, count in Counter(mail.recipient for mail in mailbox.messages).items() if count > 1
    }
    for key in valkey.scan_iter("rq:job:*", count=1000):
        data, ambiguous = valkey.hmget(key, "data", "ambiguous")
        if data and ambiguous:
            twice.discard(json.loads(data)[3].get("to"))
    return twice


# Redis forgets everything


def test_always_sends_what_redis_has_forgotten_and_marks_what_may_go_twice(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis, queue_settings: Callable[..., None]
) -> None:
    queue_settings(OUTBOX="always")
    mailbox.delay = 0.02
    mails, voters = addresses(500), addresses(20, "voter")
    start_worker(**ALWAYS).ready()
    with_rows = OutboxRow.objects.count
    queue_bulk_emails("vote-confirmation", mails, VOTE)
    for address in voters:
        publish("vote.created", {"voter_email": address, "model_name": "Tern", "model_id": 7})
    mailbox.wait_for(100, timeout=30)

    in_flight = valkey.zcard("emailqueue:leases")
    valkey.flushall()

    everything_arrives(mailbox, mails, voters)
    eventually(lambda: with_rows() == 0, timeout=20)
    assert in_flight > 0
    assert doubled_unmarked(mailbox, valkey) == set()


# Killed between commit, push, settle and the deletion of the row


WEB = """
import django
django.setup()
from django.db import transaction
from emailqueue import queue_bulk_emails
from events import queue_vote_confirmation
from emailqueue.events import publish
with transaction.atomic():
    {call}
print("done", flush=True)
"""
VOTE_CALL = f"queue_vote_confirmation('ada@example.com', {VOTE!r})"
EVENT_CALL = "publish('vote.created', dict(voter_email='ada@example.com', model_name='Tern', model_id=7))"
BULK_CALL = f"queue_bulk_emails('vote-confirmation', [f'fan-{{n}}@example.com' for n in range(1200)], {VOTE!r})"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that makes one call in a transaction."""
    started = []

    def start(call: str, **environ: str) -> subprocess.Popen[str]:
        names = {"DJANGO_SETTINGS_MODULE": "tests.support.short_leases", "DATABASE_URL": database_url(), **ALWAYS}
        process = subprocess.Popen(
            [sys.executable, "-c", WEB.format(call=call)],
            cwd=ROOT,
            env={**os.environ, **names, **environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("call", "script"), [(VOTE_CALL, "enqueue"), (EVENT_CALL, "enqueue"), (BULK_CALL, "commit")])
@pytest.mark.parametrize("after", ["commit", "push"])
def test_always_loses_nothing_when_the_web_process_dies_after(
    *,
    after: str,
    call: str,
    script: str,
    mailbox: MailServer,
    start_worker: StartWorker,
    proxy: ValkeyProxy,
    web: Callable[..., subprocess.Popen[str]],
) -> None:
    hold = {"commit": proxy.hold_request, "push": proxy.hold_reply}[after]
    hold(script)
    process = web(call, REDIS_URL=proxy.url)
    eventually(proxy.held.is_set, timeout=20)

    process.kill()
    start_worker(**SHORT_LEASES, **ALWAYS, EMAIL_CONCURRENCY="20")

    expected = addresses(1200, "fan") if call == BULK_CALL else ["ada@example.com"]
    everything_arrives(mailbox, expected)
    eventually(lambda: OutboxRow.objects.count() == 0, timeout=30)
    assert len(mailbox.messages) == len({mail.recipient for mail in mailbox.messages})


@pytest.mark.slow
@pytest.mark.parametrize("held", ["settle's request", "settle's reply"])
@pytest.mark.parametrize("call", [VOTE_CALL, EVENT_CALL])
def test_always_loses_nothing_when_the_worker_dies_around_settling(
    *,
    held: str,
    call: str,
    mailbox: MailServer,
    start_worker: StartWorker,
    valkey: Redis,
    proxy: ValkeyProxy,
    web: Callable[..., subprocess.Popen[str]],
) -> None:
    assert web(call).wait(20) == 0
    hold = proxy.hold_request if held == "settle's request" else proxy.hold_reply
    hold("settle")
    victim = start_worker(**SHORT_LEASES, **ALWAYS, REDIS_URL=proxy.url)
    eventually(proxy.held.is_set, timeout=20)

    victim.kill()  # before it has deleted the row
    rows = OutboxRow.objects.count()
    start_worker(**SHORT_LEASES, **ALWAYS)

    everything_arrives(mailbox, ["ada@example.com"])
    eventually(lambda: OutboxRow.objects.count() == 0, timeout=30)
    assert rows >= 1
    assert doubled_unmarked(mailbox, valkey) == set()
    assert get_queue_stats().main.ambiguous == (held == "settle's request" and call == VOTE_CALL)


@pytest.mark.parametrize("held", ["request", "reply"])
def test_failover_loses_and_doubles_nothing_when_the_worker_dies_while_it_relays(
    *,
    held: str,
    mailbox: MailServer,
    start_worker: StartWorker,
    valkey_server: EmbeddedValkey,
    valkey: Redis,
    proxy: ValkeyProxy,
) -> None:
    valkey_server.kill()
    queue_bulk_emails("vote-confirmation", addresses(700), VOTE)
    valkey_server.start()
    hold = {"request": proxy.hold_request, "reply": proxy.hold_reply}[held]
    hold("enqueue")
    victim = start_worker(**SHORT_LEASES, REDIS_URL=proxy.url)
    eventually(proxy.held.is_set, timeout=20)

    victim.kill()  # before it has deleted the rows
    rows = OutboxRow.objects.count()
    start_worker(**SHORT_LEASES, EMAIL_CONCURRENCY="20")

    everything_arrives(mailbox, addresses(700))
    assert rows == 700
    assert OutboxRow.objects.count() == 0
    assert doubled_unmarked(mailbox, valkey) == set()


def addresses(count: int, name: str = "reader") -> list[str]:
    return [f"{name}-{number}@example.com" for number in range(count)]
