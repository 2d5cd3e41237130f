"""The only module that moves jobs in Redis: each move is one Lua script."""

import json
import random
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from itertools import chain, islice
from typing import Any

from redis import Redis

from emailqueue.jobs.job import Job, NewJob
from emailqueue.store.claim import Claim, ClaimRequest
from emailqueue.store.counts import Counts
from emailqueue.store.keys import FLOW, OFFERED, SINCE, WAKE
from emailqueue.store.scripts import run
from emailqueue.store.settle import PROBING, THROTTLING, Settled, Settlement

REMEMBER_THE_BEGINNING = """
local time = redis.call('TIME')
return redis.call('SET', KEYS[1], string.format('%s.%06d', time[1], tonumber(time[2])), 'NX')
"""
OFFER_AGAIN = 5 * 60
"""Seconds after which all rows of the outbox are offered again."""
PIECE = 500
"""Jobs that one script call carries at most."""
STAGED = 60 * 60
"""Seconds that staged jobs live which nobody commits."""
_dice = random.Random()


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
    """It was cancelled or dead-lettered some minutes ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxState:
    """What Redis knows about the outbox. All times are its own."""

    now: datetime
    since: datetime
    """When it first looked at the outbox: before that it remembers nothing."""

    position: int | None
    """Primary key of the last row that was offered; None: begin at the first."""


@dataclass(slots=True)
class Store:
    """The queue in Redis. Every method is one round trip, except bulk calls, and raises redis.RedisError."""

    connection: Redis

    def enqueue(self, jobs: Sequence[NewJob], *, call: str = "", relayed: bool = False) -> list[Added]:
        """
        Add up to PIECE jobs at once. Repeating a call adds nothing twice.

        `call` is the id of a bulk call's idempotency key, or empty; `relayed`: the jobs come out of the outbox.
        """
        return [Added(answer) for answer in self._run("enqueue", call, "1" if relayed else "", *map(_as_text, jobs))]

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
            self._run("stage", staging, STAGED, *map(_as_text, piece))
            staged += len(piece)
        return staged

    def cancel(self, job_id: str) -> bool | str:
        """
        Remove a job that no worker has claimed; False when it is too late.

        For the retry of a dead letter, the answer is the id of that dead letter.
        """
        answer = self._run("move", job_id, "cancel")
        return answer.decode() if isinstance(answer, bytes) else bool(answer)

    def reschedule(self, job_id: str, due: str) -> bool:
        """Move a job that no worker has claimed to another time; False when it is too late."""
        return bool(self._run("move", job_id, due))

    def claim(self, request: ClaimRequest) -> Claim:
        """Take the next jobs."""
        return Claim.read(self._run("claim", request.as_json()))

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
        rng: random.Random = _dice,
    ) -> list[Settled]:
        """
        Write what became of jobs; for each, what that has changed. Repeating a batch changes nothing.

        `server`: name of the mail server that was spoken to, whose circuit opens and closes by it.
        """
        ask = {"worker": worker, "now": now, "keep": int(keep), "batch": [entry.as_json() for entry in batch]}
        waits = {"probing": PROBING, "throttling": THROTTLING, "dice": rng.random()}
        return [Settled(settled) for settled in self._run("settle", json.dumps({**ask, **waits, "server": server}))]

    def whereabouts(self, job_ids: Sequence[str]) -> tuple[list[Whereabouts], int]:
        """Return of each job whether it may still run, and how many dead letters wait for the database."""
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
        self.change_flow()

    def await_wake(self, timeout: float) -> bool:
        """Block until a worker is woken or `timeout` seconds have passed."""
        return self.connection.blpop([WAKE], timeout=timeout) is not None

    def view(self, *, minutes: int, hours: int) -> dict[str, Any]:
        """Return all that the statistics show; see view.lua."""
        view: dict[str, Any] = json.loads(self._run("view", minutes, hours))
        return view

    def counts(self) -> Counts:
        """Return what stands in the queues now, and what was counted since the beginning."""
        return Counts.read(json.loads(self._run("counts")))

    def flow(self) -> dict[str, str]:
        """Return what holds mail back; flow.py reads it."""
        fields: Any = self.connection.hgetall(FLOW)
        return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}

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

    def _run(self, script: str, *arguments: Any) -> Any:
        return run(self.connection, script, *arguments)


def staging_key() -> str:
    """Return a new name for staged jobs."""
    return f"emailqueue:staging:{secrets.token_hex(16)}"


def _as_text(job: NewJob) -> str:
    """Return a job as parts/add.lua reads it."""
    fields = [part for pair in job.fields().items() for part in pair]
    # Not escaped: half a surrogate pair is refused here, and not by the script that drains it.
    head = [job.id, job.queue, job.counted_in(), job.label, job.due, job.keyed, job.dead_letter, job.ambiguous]
    return json.dumps([*head, fields], ensure_ascii=False)


def _tokens(jobs: Iterable[Job]) -> Iterator[str]:
    for job in jobs:
        yield job.id
        yield job.token
