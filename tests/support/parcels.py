"""A topic of a project, subscribers that fail or rejoice, and the jobs that wait for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from redis import Redis

from emailqueue import Backoff
from emailqueue.events import Event, Topic

HERE = __name__

VOTE = {"voter_email": "ada@example.com", "model_name": "Ada", "model_id": 7}
AUDIENCE = [f"fan{number}@example.com" for number in range(30)]
AT_ONCE = Backoff(type="fixed", delay=0)


@dataclass(frozen=True, kw_only=True)
class ParcelSent:
    parcel: int


PARCEL_SENT = Topic("parcel.sent", payload=ParcelSent)
calls: list[str] = []


def stumble(event: Event) -> NoReturn:
    calls.append("stumble")
    raise ConnectionError("the warehouse is away")


def rejoice(event: Event) -> None:
    calls.append("rejoice")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job that waits in a queue."""

    queue: str
    label: str
    arguments: dict[str, Any]


def waiting(valkey: Redis, *queues: str) -> list[Waiting]:
    jobs = []
    for queue in queues:
        ids: list[Any] = valkey.lrange(f"rq:queue:{queue}", 0, -1)
        for job_id in ids:
            stored: dict[Any, Any] = valkey.hgetall(f"rq:job:{job_id.decode()}")
            arguments = json.loads(stored[b"data"])[3]
            jobs.append(Waiting(queue=queue, label=stored[b"description"].decode(), arguments=arguments))
    return jobs
