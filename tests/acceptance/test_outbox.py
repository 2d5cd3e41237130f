"""What the outbox keeps, whatever Redis, the web process or a worker does at that moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.events import publish
from emailqueue.models import OutboxRow
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.testing import MailServer
from tests.conftest import ROOT, StartWorker, database_url, eventually
from tests.support.audience import doubled_unmarked, everything_arrives
from tests.support.crashes import SHORT_LEASES, VOTE, addresses
from tests.support.valkey_proxy import ValkeyProxy

ALWAYS = {"EMAIL_OUTBOX": "always"}
pytestmark = pytest.mark.usefixtures("valkey", "transactional_db")


@pytest.mark.slow
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


@pytest.mark.slow
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
