"""The scripts, called as the worker calls them, and what they leave in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from redis import Redis

from emailqueue import Backoff
from emailqueue.jobs.functions import DELIVER
from emailqueue.jobs.job import Job, NewJob, new_id
from emailqueue.store import Claim, ClaimRequest, Settlement, Store
from tests.acceptance.test_pace import commands

COUNTERS = "emailqueue:counters"
LEASES = "emailqueue:leases"
WAKE = "emailqueue:wake"
WORKER = "w1"


def new_job(**fields: Any) -> NewJob:
    values: dict[str, Any] = {
        "id": new_id(),
        "queue": "normal",
        "function": DELIVER,
        "arguments": {"to": "ada@example.com"},
        "attempts": 3,
        "backoff": Backoff(),
        "label": "vote-confirmation",
        **fields,
    }
    return NewJob(**values)


def enqueue(store: Store, *ids: str, **fields: Any) -> None:
    store.enqueue([new_job(id=job_id, **fields) for job_id in ids])


def ask(store: Store, **asked: Any) -> Claim:
    """Claim as a worker with 10 free hands that serves all queues at no limit."""
    request = ClaimRequest(
        worker=WORKER,
        now="2030-01-01T00:00:00.000000Z",
        events="events",
        room=10,
        event_room=5,
        lease=15,
        idle=20_000,
    )
    return store.claim(replace(request, **asked))


def claim(store: Store, **asked: Any) -> list[Job]:
    return list(ask(store, **asked).jobs)


def claimed(store: Store, **asked: Any) -> list[str]:
    return [job.id for job in claim(store, **asked)]


def settle(store: Store, verb: str, *jobs: Job, **fields: Any) -> list[bool]:
    if verb in ("retry", "wait"):
        fields = {"history": "[]", **fields}
    elif verb == "dead":
        fields = {"inbox_id": new_id(), "record": "{}", **fields}
    batch = [Settlement(job=job, verb=verb, seconds=0.5, **fields) for job in jobs]
    return [bool(changed) for changed in store.settle(batch, worker=WORKER, now="2030-01-01T00:00:00Z", keep=500)]


def waiting(valkey: Redis, queue: str = "normal") -> list[str]:
    return [job_id.decode() for job_id in cast(list[bytes], valkey.lrange(f"rq:queue:{queue}", 0, -1))]


def scheduled(valkey: Redis, queue: str = "normal") -> list[str]:
    return [job_id.decode() for job_id in cast(list[bytes], valkey.zrange(f"rq:scheduled:{queue}", 0, -1))]


def place(valkey: Redis, job_id: str) -> str | None:
    found = cast(bytes | None, valkey.hget(f"rq:job:{job_id}", "place"))
    return found.decode() if found else None


def counters(valkey: Redis, *names: str) -> dict[str, int]:
    counted = cast(dict[bytes, bytes], valkey.hgetall(COUNTERS))
    return {name: int(counted.get(name.encode(), 0)) for name in names}


def redis_time(valkey: Redis) -> int:
    """Return Redis's time in microseconds."""
    seconds, micros = valkey.time()
    return seconds * 1_000_000 + micros


def everything(valkey: Redis) -> dict[bytes, object]:
    """Return all keys with their values, save what a claim or settling counts up in any case."""

    def value(key: bytes) -> object:
        # The dump of a hash that grows has another order each time.
        return valkey.hgetall(key) if valkey.type(key) == b"hash" else valkey.dump(key)

    return {key: value(key) for key in valkey.scan_iter() if b"rq:worker:" not in key}


def commands_of_a_claim(store: Store, **asked: Any) -> Mapping[str, int]:
    ask(store, **asked)
    store.connection.config_resetstat()
    ask(store, **asked)
    return commands(store.connection)
