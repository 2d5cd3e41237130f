from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails, queue_email
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.job import Job
from emailqueue.models import DeadLetter, Status
from emailqueue.redis import rq_queues
from emailqueue.store import QueueFigures, Settlement, Store
from tests.conftest import claim_and_vanish

pytestmark = pytest.mark.postgresql

VOTE = {"model_name": "Ada", "profile_url": "https://front.example/models/1"}
NOTHING = QueueFigures(waiting=0, active=0, delayed=0, completed=0, failed=0, ambiguous=0, retried=0)


def settle(store: Store, verb: str, job: Job, **fields: Any) -> None:
    store.settle([Settlement(job=job, verb=verb, **fields)], worker="vanished", now="", keep=60)


def letter(death: str, status: str) -> None:
    DeadLetter.objects.create(id=death, reason="permanent", dead_lettered_at=timezone.now(), status=status)


@pytest.mark.django_db
def test_an_empty_queue_counts_nothing(valkey: Redis) -> None:
    stats = get_queue_stats()

    assert stats.main == NOTHING
    assert stats.queues == {"critical": NOTHING, "high": NOTHING, "normal": NOTHING, "low": NOTHING}
    assert stats.dlq.count == 0


@pytest.mark.django_db(transaction=True)
def test_figures_tell_what_stands_where_and_what_was_counted(valkey: Redis) -> None:
    store = Store(valkey)
    queue_bulk_emails("vote-confirmation", ["ada@example.com"] * 6, VOTE)
    queue_email("reward-delivery", "ada@example.com", {"reward_name": "Badge"})
    high, sent, retried, dead, _active = claim_and_vanish(valkey, "high", "normal", jobs=5, lease=60)
    settle(store, "sent", high)
    settle(store, "sent", sent)
    settle(store, "retry", retried, due=60, history="[]", ambiguous=True)
    settle(store, "dead", dead, inbox_id="d1", record=json.dumps({}))

    stats = get_queue_stats()

    normal = QueueFigures(queued=6, waiting=2, active=1, delayed=1, completed=1, failed=1, ambiguous=1, retried=1)
    assert stats.queues["normal"] == normal
    assert stats.queues["high"].completed == 1
    assert (stats.main.waiting, stats.main.active, stats.main.delayed) == (2, 1, 1)
    assert (stats.main.completed, stats.main.failed, stats.main.ambiguous, stats.main.retried) == (2, 1, 1, 1)


@pytest.mark.django_db
def test_dead_letters_are_counted_while_nobody_has_dealt_with_them(valkey: Redis) -> None:
    letter("d1", Status.OPEN)
    letter("d2", Status.DISCARDED)
    valkey.hset("emailqueue:dead", "d3", "{}")  # still on its way into the database

    stats = get_queue_stats()

    assert stats.dlq.count == 2


def test_without_redis_there_are_no_figures() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"redis://127.0.0.1:{server.getsockname()[1]}"

    with override_settings(RQ_QUEUES=rq_queues(dead)), pytest.raises(RedisUnavailable, match="no figures"):
        get_queue_stats()
