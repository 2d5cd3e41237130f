"""An outage of the mail server as the scripts see it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from redis import Redis

from emailqueue.flow import outages_in
from emailqueue.jobs.job import Job, new_id
from emailqueue.store import Settled, Settlement, Store
from tests.support.scripts import claim

SERVER = "mail.example:25"
CIRCUIT = f"emailqueue:outage:{SERVER}"


def take(store: Store, **asked: Any) -> list[Job]:
    return claim(store, server=SERVER, **asked)


def settle_for(store: Store, verb: str, *jobs: Job, dice: float = 1.0, **fields: Any) -> list[Settled]:
    """Settle as a worker does that speaks to SERVER. At a dice of 1 a wait is the shortest, at 0 the longest."""
    if verb in ("retry", "wait", "throttle"):
        fields = {"history": '[{"charged": false}]', **fields}
    elif verb == "dead":
        fields = {"inbox_id": new_id(), "record": "{}", **fields}
    batch = [Settlement(job=job, verb=verb, **fields) for job in jobs]
    return store.settle(batch, worker="w1", now="", keep=60, server=SERVER, rng=Dice(dice))


class Dice(random.Random):
    def __init__(self, fallen: float) -> None:
        super().__init__()
        self.fallen = fallen

    def random(self) -> float:
        return self.fallen


def let_the_next_probe_come(valkey: Redis) -> None:
    valkey.hset(CIRCUIT, "next", "0")


def get_outages(store: Store) -> Mapping[str, object]:
    return outages_in(store.flow())
