"""What a worker asks for when it claims jobs, and what it gets; claim.lua is the other end of both."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from emailqueue.jobs.job import FIELDS, Job, timestamp
from emailqueue.jobs.priority import EMAIL_QUEUES
from emailqueue.store.counts import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """What a worker takes, and what is shown of it."""

    worker: str
    ttl: int = 60
    """Seconds that the worker's entry lives."""

    now: str = field(default_factory=timestamp)
    """Its own clock, for display."""

    state: str = ""
    """busy or idle, for display; empty: nothing of the worker is written."""

    server: str = ""
    """Name of its mail server, for that one's circuit."""

    queues: Sequence[str] = EMAIL_QUEUES
    """Mail queues in the order of priority."""

    events: str = ""
    """Name of the event queue; empty: not served."""

    room: int = 1
    """How many jobs it takes in all."""

    event_room: int = 0
    """How many of them may be jobs of the event queue."""

    in_hand: int = 0
    """Jobs that it has already."""

    lease: float
    """Seconds until the jobs go to another worker, unless they are settled or the lease is renewed."""

    interval: float = 0
    """Microseconds between two mails, unless staff have set a limit; 0: no limit."""

    burst: int = 1
    fair: int = 0
    """Millionths of the mails that go to the oldest ones, where several queues have some."""

    idle: float = 1000
    """Milliseconds after which it asks again in any case."""

    figures: bool = False
    fields: Sequence[str] = FIELDS

    def as_json(self) -> str:
        """Return it as claim.lua reads it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The answer to a claim."""

    jobs: Sequence[Job]
    wait: float
    """Seconds after which it is worth asking again, unless woken."""

    left: bool
    """Whether mail waits for the rate limit, or has been committed and waits to be brought into its queue."""

    suspended: bool
    """Whether RQ's suspension stops all workers."""

    alone: bool
    """Whether the next job needs a worker that has no other."""

    inbox: int
    """Dead letters that wait to be moved into the database."""

    figures: Counts | None = None

    @classmethod
    def read(cls, reply: Sequence[Any]) -> Self:
        """Read the reply of claim.lua."""
        found = {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
        lease = {"token": found["token"].decode(), "claimed_at": float(found["claimed_at"])}
        return cls(
            jobs=[_job(*job, **lease) for job in found["jobs"]],
            wait=found["wait"] / 1_000_000,
            left=bool(found["left"]),
            suspended=bool(found["suspended"]),
            alone=bool(found["alone"]),
            inbox=found["inbox"],
            figures=Counts.read(json.loads(found["figures"])) if found["figures"] else None,
        )


def _job(job_id: bytes, queue: bytes, fair: int, *fields: bytes | None, **lease: Any) -> Job:
    text = job_id.decode("utf-8", "replace")  # anyone may have put it there
    return Job.read(dict(zip(FIELDS, fields, strict=True)), id=text, queue=queue.decode(), fair=bool(fair), **lease)
