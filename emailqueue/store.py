"""The only module that moves jobs in Redis: each move is one Lua script."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from redis import Redis
from redis.commands.core import Script
from rq.defaults import RQ_KEY_PREFIX

from emailqueue.jobs import Job, NewJob
from emailqueue.priority import QUEUES

WAKE = "emailqueue:wake"
INBOX = "emailqueue:dead"
COUNTERS = "emailqueue:counters"
REDELIVERED = "emailqueue:redelivered"
FLOW = "emailqueue:flow"
SLOWED = "emailqueue:slowed"
REMEMBER = 24 * 60 * 60
"""Seconds that an idempotency key is remembered."""
PIECE = 500
"""Jobs that one script call of a bulk carries."""
STAGED = 60 * 60
"""Seconds that the pieces of an unfinished bulk call live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The answer to a claim."""

    jobs: Sequence[Job]
    wait: float
    """Seconds after which it is worth asking again, unless woken."""

    limited: bool
    """Whether mail waits for the rate limit."""

    suspended: bool
    """Whether RQ's suspension holds all workers back."""

    alone: bool
    """Whether the next job wants a worker that holds nothing else."""

    inbox: int
    """Dead letters that wait to be moved into the database."""

    figures: Mapping[str, Any] | None = None
    """Counts per queue, when they were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is written about one job that a worker had; see settle.lua."""

    job: Job
    verb: str
    """sent, retry, hold, slow, head or dead."""

    seconds: float = 0.0
    """How long the job ran."""

    due: float = 0.0
    charged: bool = True
    ambiguous: bool = False
    history: str = ""
    death: str = ""
    record: str = ""
    reached: bool = False
    """Whether the mail server answered as one that takes mail, if not this one."""

    alert: bool = False
    """Whether it refused our account."""

    otherwise: Settlement | None = None
    """What is written instead of a hold when the mail turns out to be to blame itself."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry as settle.lua reads it."""
        job = {"id": self.job.id, "queue": self.job.queue, "label": self.job.label, "token": self.job.token}
        names = ("verb", "seconds", "due", "charged", "ambiguous", "history", "death", "record", "reached", "alert")
        otherwise = {"otherwise": self.otherwise.as_json()} if self.otherwise else {}
        return job | {name: getattr(self, name) for name in names} | otherwise


class Settled(IntEnum):
    """What a settlement has changed; false when nothing, because the lease was lost."""

    LEASE_LOST = 0
    WRITTEN = 1
    OUTAGE_BEGAN = 2
    ACCOUNT_REFUSED = 3
    """Written, and it is the first word in this outage that the mail server refuses our account."""
    OUTAGE_ENDED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubling:
    """A wait that doubles each time, in seconds."""

    first: float
    most: float


PROBING = Doubling(first=1.0, most=60.0)
"""Between two probes of a mail server that is away."""
SLOWING = Doubling(first=5.0, most=900.0)
"""Between two tries of a domain that asks us to go slower."""
_dice = random.Random()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The figures of all queues at one moment."""

    now: Mapping[str, tuple[int, int, int]]
    """Per queue: waiting, active and delayed jobs."""

    counters: Mapping[str, int]
    """Since the beginning: "low:completed" by queue, "completed=progress-update" by label.
    What is counted: queued, completed, failed, retried, held, ambiguous."""

    inbox: int
    """Dead letters that wait to be moved into the database."""

    flow: Mapping[str, str]
    """What holds mail back; flow.py reads it."""

    slowed: Mapping[str, float]
    """Domains that asked us to go slower, the next ones first, and the Unix time of their next try; 100 at most."""


@cache
def _source(name: str) -> str:
    folder = Path(__file__).parent / "lua"
    prelude = f"local RQ = '{RQ_KEY_PREFIX}'\n" + (folder / "common.lua").read_text()
    return prelude + (folder / f"{name}.lua").read_text()


@dataclass(slots=True)
class Store:
    """The queue in Redis. Every method is one round trip, except bulk calls, and raises redis.RedisError."""

    connection: Redis
    _scripts: dict[str, Script] = field(default_factory=dict)

    def _run(self, name: str, *arguments: Any) -> Any:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.connection.register_script(_source(name))
        return script(args=arguments)

    def enqueue(self, jobs: Sequence[NewJob]) -> list[bool]:
        """Add up to some hundred jobs at once; for each, whether it was new. Repeating a call adds nothing twice."""
        return [bool(added) for added in self._run("enqueue", REMEMBER, *_flat(jobs))]

    def enqueue_bulk(self, jobs: Iterable[NewJob], *, queue: str, label: str, due: str, call: str) -> bool:
        """
        Add any number of jobs of one queue and label, all or none of them; False when `call` is known already.

        `call` is the id of the call's idempotency key, or empty.
        """
        staging = f"emailqueue:staging:{call or secrets.token_hex(16)}"
        if call:
            staging += f":{secrets.token_hex(4)}"
        staged = 0
        rest = iter(jobs)
        while piece := list(islice(rest, PIECE)):
            if not self._run("stage", staging, STAGED, call, *_flat(piece)):
                return False
            staged += len(piece)
        released = self._run("release", staging, queue, label, due, staged, call, REMEMBER)
        if released < 0:
            raise RuntimeError(
                f"A bulk call took longer than {STAGED} s to store; none of its {staged} jobs was queued."
            )
        return bool(released)

    def cancel(self, job_id: str) -> bool:
        """Remove a job that no worker has claimed; False when it is too late."""
        return bool(self._run("move", job_id, "cancel"))

    def reschedule(self, job_id: str, due: str) -> bool:
        """Move a job that no worker has claimed to another time; False when it is too late."""
        return bool(self._run("move", job_id, due))

    def claim(self, ask: Mapping[str, Any]) -> Claim:
        """Take the next jobs. `ask`: see claim.lua."""
        wait, left, alone, inbox, figures, *jobs = self._run("claim", json.dumps(ask))
        return Claim(
            jobs=[Job.claimed(job) for job in jobs],
            wait=wait / 1_000_000,
            limited=left == 1,
            suspended=left == 2,
            alone=bool(alone),
            inbox=inbox,
            figures=json.loads(figures) if figures else None,
        )

    def fence(self, jobs: Sequence[Job]) -> list[bool]:
        """Mark jobs as about to be sent; for each, whether the lease is still ours."""
        return [bool(granted) for granted in self._run("fence", *_tokens(jobs))]

    def renew(self, jobs: Sequence[Job], *, lease: float) -> list[bool]:
        """Prolong the leases of `jobs` by `lease` seconds; for each, whether it was still ours."""
        return [bool(renewed) for renewed in self._run("renew", lease, *_tokens(jobs))]

    def settle(
        self,
        batch: Sequence[Settlement],
        *,
        worker: str,
        now: str,
        keep: float,
        server: str = "",
        probing: Doubling = PROBING,
        slowing: Doubling = SLOWING,
        rng: random.Random = _dice,
    ) -> list[Settled]:
        """
        Write what became of jobs; for each, what that has changed. Repeating a batch changes nothing.

        `server`: name of the mail server that was spoken to, whose circuit opens and closes by it.
        """
        ask = {"worker": worker, "now": now, "keep": int(keep), "batch": [entry.as_json() for entry in batch]}
        flow = {"server": server, "probing": asdict(probing), "slowing": asdict(slowing), "dice": rng.random()}
        return [Settled(settled) for settled in self._run("settle", json.dumps(ask | flow))]

    def wake(self) -> None:
        """Wake one idle worker."""
        with self.connection.pipeline() as pipeline:
            pipeline.lpush(WAKE, 1)
            pipeline.ltrim(WAKE, 0, 0)
            pipeline.execute()

    def await_wake(self, timeout: float) -> bool:
        """Block until a worker is wanted or `timeout` seconds have passed."""
        return self.connection.blpop([WAKE], timeout=timeout) is not None

    def counts(self) -> Counts:
        """Return what stands in the queues now, and what was counted since the beginning."""
        with self.connection.pipeline(transaction=False) as pipeline:
            for queue in QUEUES:
                pipeline.llen(f"{RQ_KEY_PREFIX}:queue:{queue}")
                pipeline.zcard(f"{RQ_KEY_PREFIX}:wip:{queue}")
                pipeline.zcard(f"{RQ_KEY_PREFIX}:scheduled:{queue}")
            pipeline.hgetall(COUNTERS)
            pipeline.hlen(INBOX)
            pipeline.hgetall(FLOW)
            pipeline.zrangebyscore(SLOWED, "(0", "+inf", start=0, num=100, withscores=True)
            *now, counters, inbox, flow, slowed = pipeline.execute()
        counted = {name.decode(): int(number) for name, number in counters.items()}
        return Counts(
            now={queue: (now[3 * i], now[3 * i + 1], now[3 * i + 2]) for i, queue in enumerate(QUEUES)},
            counters=counted,
            inbox=inbox,
            flow=_decoded(flow),
            slowed={domain.decode(): next_try for domain, next_try in slowed},
        )

    def flow(self) -> dict[str, str]:
        """Return what holds mail back; flow.py reads it."""
        return _decoded(self.connection.hgetall(FLOW))

    def change_flow(self, *, put: Mapping[str, str] | None = None, drop: Iterable[str] = ()) -> None:
        """Write and delete what holds mail back, and have a worker look at it; it wakes the next."""
        with self.connection.pipeline() as pipeline:
            for name, value in (put or {}).items():
                pipeline.hset(FLOW, name, value)
            if drop := list(drop):
                pipeline.hdel(FLOW, *drop)
            pipeline.lpush(WAKE, 1)
            pipeline.ltrim(WAKE, 0, 0)
            pipeline.execute()


def _decoded(fields: Any) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}


def _flat(jobs: Iterable[NewJob]) -> Iterable[Any]:
    for job in jobs:
        fields = job.fields()
        yield from (job.id, job.queue, job.label, job.due, "1" if job.keyed else "", len(fields))
        for pair in fields.items():
            yield from pair


def _tokens(jobs: Iterable[Job]) -> Iterable[str]:
    for job in jobs:
        yield job.id
        yield job.token
