"""All figures of one moment, as one script has read them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from emailqueue.conf import get_settings
from emailqueue.jobs.priority import QUEUES
from emailqueue.store import Counts, Store

MINUTES = 60
HOURS = 48
STEP = 1.25
"""Ratio of one latency bucket to the next; see series.lua."""
BUCKET = "latency:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What became of mails in one minute or hour."""

    begins: float
    """Unix time."""

    sent: int
    retried: int
    dead: int
    latencies: Mapping[int, int]
    """By bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker, as RQ keeps it."""

    name: str
    host: str
    """Name of its machine."""

    state: str
    queues: str
    heartbeat: float | None
    """Seconds since it was last heard of."""

    done: int
    failed: int

    @property
    def is_alive(self) -> bool:
        """Whether it has reported lately: it may miss two reports."""
        return self.heartbeat is not None and self.heartbeat < 3 * get_settings().stats_interval + 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All figures of one moment."""

    now: float
    """Unix time, by Redis's clock."""

    counts: Counts
    oldest: Mapping[str, float | None]
    """Per queue: seconds that its first job has waited since it was due."""

    late: Mapping[str, int]
    """Per queue: scheduled jobs whose time has come for more than a minute."""

    minutes: Sequence[Period]
    """Oldest first; the last is the one that runs."""

    hours: Sequence[Period]
    workers: Sequence[Worker]
    suspended: bool
    """Whether RQ's suspension stops all workers."""

    @classmethod
    def take(cls, store: Store) -> Self:
        """Read it all in one round trip. Raises redis.RedisError."""
        raw = store.view(minutes=MINUTES, hours=HOURS)
        now = raw["now"]
        return cls(
            now=now,
            counts=Counts.read(raw),
            oldest={queue: _age(raw["oldest"][queue], now) for queue in QUEUES},
            late=raw["late"],
            minutes=_periods(raw["minutes"], seconds=60),
            hours=_periods(raw["hours"], seconds=3600),
            workers=sorted(_workers(raw["workers"], now), key=lambda worker: worker.name),
            suspended=raw["suspended"],
        )

    @property
    def alive(self) -> list[Worker]:
        """The workers that have reported lately."""
        return [worker for worker in self.workers if worker.is_alive]

    @property
    def rate(self) -> float:
        """Mails sent a second, in the last whole minute."""
        return self.minutes[-2].sent / 60 if len(self.minutes) > 1 else 0.0

    def latency(self, share: float) -> float | None:
        """Return the seconds within which that share of the last hour's mails were sent; None without mails."""
        return percentile(self.minutes, share)


def percentile(periods: Sequence[Period], share: float) -> float | None:
    """Return the latency in seconds that `share` of the mails did not exceed, true to an eighth."""
    histogram: Counter[int] = Counter()
    for period in periods:
        histogram.update(period.latencies)
    wanted = share * histogram.total()
    seen = 0
    for bucket, count in sorted(histogram.items()):
        seen += count
        if seen >= wanted:
            return float(STEP ** (bucket + 0.5) / 1000)
    return None


def _periods(found: Mapping[str, Mapping[str, str]], *, seconds: int) -> list[Period]:
    periods = []
    for number, fields in sorted((int(number), fields) for number, fields in found.items()):
        sent, retried, dead = (int(fields.get(name, 0)) for name in ("sent", "retried", "dead"))
        latencies = {
            int(name.removeprefix(BUCKET)): int(count) for name, count in fields.items() if name.startswith(BUCKET)
        }
        begins = float(number * seconds)
        periods.append(Period(begins=begins, sent=sent, retried=retried, dead=dead, latencies=latencies))
    return periods


def _workers(found: Any, now: float) -> list[Worker]:
    ours = get_settings().by_rq_name
    return [
        Worker(
            name=worker["name"],
            host=worker.get("hostname", ""),
            state=worker.get("state", ""),
            queues=",".join(ours.get(name, name) for name in worker["queues"].split(",")),
            heartbeat=_age(worker.get("last_heartbeat", ""), now),
            done=int(worker.get("successful_job_count", 0)),
            failed=int(worker.get("failed_job_count", 0)),
        )
        # An empty table of Lua is an object in JSON. A worker that is listed without a hash has died.
        for worker in (found or [])
        if len(worker) > 1 and not ours.keys().isdisjoint(worker.get("queues", "").split(","))
    ]


def _age(moment: str, now: float) -> float | None:
    """Return the seconds since `moment`, a Unix time or an ISO one; None for neither."""
    for read in (float, _iso):
        with suppress(ValueError):
            return max(0.0, now - read(moment))
    return None


def _iso(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
