"""A store that has looked at the outbox for long, and a Redis that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from emailqueue.redis import rq_queues
from emailqueue.store import Store
from tests.support.outbox import remember_from


@pytest.fixture
def store(valkey: Redis) -> Store:
    store = Store(valkey)
    remember_from(valkey, 3600)
    return store


@pytest.fixture
def redis_is_away(settings: Any) -> Callable[[], None]:
    def away() -> None:
        settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    return away
