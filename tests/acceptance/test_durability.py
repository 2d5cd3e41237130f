"""What was committed is sent, whatever Redis, the web process or a worker does at that moment."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest
from redis import Redis

from emailqueue import get_queue_stats
from emailqueue.events import publish
from emailqueue.models import OutboxRow
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.store import Store
from emailqueue.testing import MailServer
from events import queue_vote_confirmation
from tests.conftest import StartWorker, eventually
from tests.support.audience import doubled_unmarked, everything_arrives
from tests.support.crashes import SHORT_LEASES, VOTE, addresses
from tests.support.valkey_proxy import ValkeyProxy

RANK = {"model_id": 7, "model_name": "Tern", "new_rank": 3, "old_rank": 5, "vote_count": 420}
pytestmark = pytest.mark.usefixtures("valkey", "transactional_db")


@pytest.mark.slow
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
