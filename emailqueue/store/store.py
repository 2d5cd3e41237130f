"""The only module that moves jobs in Redis: each move is one Lua script."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from redis import Redis
from redis.commands.core import Script
from rq.defaults import RQ_KEY_PREFIX

from emailqueue.jobs.job import Job, NewJob
from emailqueue.jobs.outcome import Staged
from emailqueue.jobs.priority import QUEUES

WAKE = "emailqueue:wake"
INBOX = "emailqueue:dead"
COMMITTED = "emailqueue:committed"
COUNTERS = "emailqueue:counters"
REDELIVERED = "emailqueue:redelivered"
FLOW = "emailqueue:flow"
THROTTLED = "emailqueue:throttled"
SINCE = "emailqueue:since"
REMEMBER_THE_BEGINNING = """
local time = redis.call('TIME')
return redis.call('SET', KEYS[1], string.format('%s.%06d', time[1], tonumber(time[2])), 'NX')
"""
OFFERED = "emailqueue:offered"
OFFER_AGAIN = 5 * 60
"""Seconds after which all rows of the outbox are offered again."""
PIECE = 500
"""Jobs that one script call carries at most."""
PARTS = {"settle": ("series",)}
"""Scripts that begin with more than common.lua."""
STAGED = 60 * 60
"""Seconds that staged jobs live which nobody commits."""


class Added(IntEnum):
    """What became of a job that was to be put into its queue."""

    ON_ITS_WAY = 0
    """It was there already."""

    NEW = 1
    ENDED = 2
    """It was sent, cancelled or dead-lettered some minutes ago, or its idempotency key is known: nothing was added."""


class Whereabouts(IntEnum):
    """What Redis knows of a job."""

    UNKNOWN = 0
    ON_ITS_WAY = 1
    SENT = 2
    ENDED = 3
    """It was cancelled or died some minutes ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The answer to a claim."""

    jobs: Sequence[Job]
    wait: float
    """Seconds after which it is worth asking again, unless woken."""

    left: bool
    """Whether mail waits for the rate limit, or has been committed and waits to be brought into its queue."""

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
    """sent, retry, wait, throttle, back or dead."""

    seconds: float = 0.0
    """How long the job ran."""

    skipped: bool = False
    """Whether a job that is sent was none, since its recipient gets no such mails."""

    staged: Staged | None = None
    """What a job that is sent or done has queued."""

    due: float = 0.0
    """Seconds until a retry, or until what waits for a part of ours; 0 for what waits for the mail server."""

    ambiguous: bool = False
    history: str = ""
    death: str = ""
    record: str = ""
    reached: bool = False
    """Whether the mail server answered as one that takes mail, if not this one."""

    alert: bool = False
    """Whether it refused our account."""

    otherwise: Settlement | None = None
    """What is written when a mail that waits for the mail server turns out to be to blame itself."""

    @property
    def is_outage(self) -> bool:
        """Whether the mail server is away."""
        return self.verb == "wait" and not self.due

    def as_json(self) -> dict[str, Any]:
        """Return the entry as settle.lua reads it."""
        job = {name: getattr(self.job, name) for name in ("id", "queue", "label", "token", "letter")}
        staged = self.staged or Staged(key="", count=0)
        names = (
            "verb",
            "seconds",
            "due",
            "ambiguous",
            "history",
            "death",
            "record",
            "reached",
            "alert",
            "skipped",
        )
        job["counted_in"] = self.job.counted_in()
        written = {name: getattr(self, name) for name in names} | {"staging": staged.key, "staged": staged.count}
        otherwise = {"otherwise": self.otherwise.as_json()} if self.otherwise else {}
        return job | written | otherwise


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
THROTTLING = Doubling(first=5.0, most=900.0)
"""Between two probes of a domain that asks us to go slower."""
_dice = random.Random()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The figures of all queues at one moment."""

    now: Mapping[str, tuple[int, int, int]]
    """Per queue: waiting, active and delayed jobs."""

    counters: Mapping[str, int]
    """Since the beginning: "low:completed" by queue, "completed=progress-update" by label.
    What is counted: queued, completed, skipped, failed, retried, waited, throttled, ambiguous."""

    inbox: int
    """Dead letters that wait to be moved into the database."""

    flow: Mapping[str, str]
    """What holds mail back; flow.py reads it."""

    throttled: Mapping[str, float]
    """Domains that asked us to go slower, the next ones first, and the Unix time of their next try; 100 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxState:
    """What Redis knows about the outbox. All times are its own."""

    now: datetime
    since: datetime
    """When it first looked at the outbox: before that it remembers nothing."""

    position: int | None
    """Primary key of the last row that was offered; None: begin at the first."""


@cache
def _source(name: str) -> str:
    folder = Path(__file__).parent / "lua"
    prelude = f"local RQ = '{RQ_KEY_PREFIX}'\n" + (folder / "common.lua").read_text()
    return prelude + "".join((folder / f"{part}.lua").read_text() for part in (*PARTS.get(name, ()), name))


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

    def enqueue(self, jobs: Sequence[NewJob], *, call: str = "", relayed: bool = False) -> list[Added]:
        """
        Add up to PIECE jobs at once. Repeating a call adds nothing twice.

        `call` is the id of a bulk call's idempotency key, or empty; `relayed`: the jobs come out of the outbox.
        """
        answers = self._run("enqueue", call, "1" if relayed else "", *map(as_text, jobs))
        return [Added(answer) for answer in answers]

    def enqueue_bulk(self, jobs: Iterable[NewJob], *, call: str) -> list[Added]:
        """Add any number of jobs, all or none of them. `call` is the id of the call's idempotency key, or empty."""
        rest = iter(jobs)
        first, second = list(islice(rest, PIECE)), list(islice(rest, 1))
        if not second:
            return self.enqueue(first, call=call)
        staging = staging_key()
        staged = self.stage(staging, chain(first, second, rest))
        committed = self._run("commit", staging, staged, call)
        if committed < 0:
            raise RuntimeError(
                f"A bulk call took longer than {STAGED} s to store; none of its {staged} jobs was queued."
            )
        # Workers do it, too, should this process end here. Waiting for it, the caller sees its mails in the figures.
        while self._run("drain", staging):
            pass
        return [Added.NEW if committed else Added.ENDED] * staged

    def stage(self, staging: str, jobs: Iterable[NewJob]) -> int:
        """Store jobs, invisible until a settlement or a bulk call commits them; return how many."""
        rest = iter(jobs)
        staged = 0
        while piece := list(islice(rest, PIECE)):
            self._run("stage", staging, STAGED, *map(as_text, piece))
            staged += len(piece)
        return staged

    def cancel(self, job_id: str) -> bool | str:
        """
        Remove a job that no worker has claimed; False when it is too late.

        The retry of a dead letter is cancelled with the letter's id as the answer.
        """
        answer = self._run("move", job_id, "cancel")
        return answer.decode() if isinstance(answer, bytes) else bool(answer)

    def reschedule(self, job_id: str, due: str) -> bool:
        """Move a job that no worker has claimed to another time; False when it is too late."""
        return bool(self._run("move", job_id, due))

    def claim(self, ask: Mapping[str, Any]) -> Claim:
        """Take the next jobs. `ask`: see claim.lua."""
        wait, left, alone, inbox, figures, *jobs = self._run("claim", json.dumps(ask))
        return Claim(
            jobs=[Job.claimed(job) for job in jobs],
            wait=wait / 1_000_000,
            left=left == 1,
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
        throttling: Doubling = THROTTLING,
        rng: random.Random = _dice,
    ) -> list[Settled]:
        """
        Write what became of jobs; for each, what that has changed. Repeating a batch changes nothing.

        `server`: name of the mail server that was spoken to, whose circuit opens and closes by it.
        """
        ask = {"worker": worker, "now": now, "keep": int(keep), "batch": [entry.as_json() for entry in batch]}
        flow = {"server": server, "probing": asdict(probing), "throttling": asdict(throttling), "dice": rng.random()}
        return [Settled(settled) for settled in self._run("settle", json.dumps(ask | flow))]

    def whereabouts(self, job_ids: Sequence[str]) -> tuple[list[Whereabouts], int]:
        """Return of each job whether it may still run, and how many deaths wait to be moved into the database."""
        *answers, inbox = self._run("whereabouts", *job_ids)
        return [Whereabouts(answer) for answer in answers], inbox

    def outbox_state(self) -> OutboxState:
        """Return how far the outbox has been offered."""
        with self.connection.pipeline() as pipeline:
            pipeline.eval(REMEMBER_THE_BEGINNING, 1, SINCE)
            pipeline.get(SINCE)
            pipeline.get(OFFERED)
            pipeline.time()
            _, since, position, now = pipeline.execute()
        return OutboxState(
            now=datetime.fromtimestamp(now[0] + now[1] / 1e6, tz=UTC),
            since=datetime.fromtimestamp(float(since), tz=UTC),
            position=None if position is None else int(position),
        )

    def move_outbox_position(self, before: int, position: int) -> None:
        """Remember how far the outbox has been offered; for some minutes from the first row on."""
        if before:
            self.connection.set(OFFERED, position, xx=True, keepttl=True)  # gone: Redis has forgotten, too
        else:
            self.connection.set(OFFERED, position, ex=OFFER_AGAIN)

    def wake(self) -> None:
        """Wake one idle worker."""
        with self.connection.pipeline() as pipeline:
            pipeline.lpush(WAKE, 1)
            pipeline.ltrim(WAKE, 0, 0)
            pipeline.execute()

    def await_wake(self, timeout: float) -> bool:
        """Block until a worker is wanted or `timeout` seconds have passed."""
        return self.connection.blpop([WAKE], timeout=timeout) is not None

    def view(self, *, minutes: int, hours: int) -> dict[str, Any]:
        """Return all that the statistics show; see view.lua."""
        view: dict[str, Any] = json.loads(self._run("view", minutes, hours))
        return view

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
            pipeline.zrangebyscore(THROTTLED, "(0", "+inf", start=0, num=100, withscores=True)
            *now, counters, inbox, flow, throttled = pipeline.execute()
        counted = {name.decode(): int(number) for name, number in counters.items()}
        return Counts(
            now={queue: (now[3 * i], now[3 * i + 1], now[3 * i + 2]) for i, queue in enumerate(QUEUES)},
            counters=counted,
            inbox=inbox,
            flow=_decoded(flow),
            throttled={domain.decode(): next_try for domain, next_try in throttled},
        )

    def overdue(self, *, before: float) -> dict[str, int]:
        """Return per queue how many scheduled jobs were due before that Unix time."""
        with self.connection.pipeline(transaction=False) as pipeline:
            for queue in QUEUES:
                pipeline.zcount(f"{RQ_KEY_PREFIX}:scheduled:{queue}", "-inf", f"({before}")
            return dict(zip(QUEUES, pipeline.execute(), strict=True))

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


def staging_key() -> str:
    """Return a new name for staged jobs."""
    return f"emailqueue:staging:{secrets.token_hex(16)}"


def as_text(job: NewJob) -> str:
    """Return a job as add() in common.lua reads it."""
    fields = [part for pair in job.fields().items() for part in pair]
    # Not escaped: half a surrogate pair is refused here, and not by the script that drains it.
    head = [job.id, job.queue, job.counted_in(), job.label, job.due, job.keyed, job.letter, job.ambiguous]
    return json.dumps([*head, fields], ensure_ascii=False)


def _tokens(jobs: Iterable[Job]) -> Iterable[str]:
    for job in jobs:
        yield job.id
        yield job.token
