"""A domain that asks us to go slower, as the scripts see it."""

from __future__ import annotations

from typing import Any

from redis import Redis

from emailqueue.jobs.job import Job
from emailqueue.store import THROTTLED, Store
from tests.support.circuit import settle_for

SICK = "sick.example"


def slow(store: Store, *jobs: Job, **fields: Any) -> None:
    settle_for(store, "throttle", *jobs, reached=True, **fields)


def let_the_next_try_come(valkey: Redis) -> None:
    valkey.zadd(THROTTLED, {SICK: 1.0}, xx=True)
