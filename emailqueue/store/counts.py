"""The figures of the queue, wherever they are shown; parts/figures.lua reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from emailqueue.jobs.priority import QUEUES

NOW = ("waiting", "active", "delayed")
OUTCOMES = ("completed", "skipped", "failed")
"""Counters of how a job ends, once each."""
PASSED = {
    "queued": "Jobs that were queued.",
    "retried": "Attempts that failed, after which the job waits for the next.",
    "waited": "Attempts that were not charged, since the mail server or a part of ours was away.",
    "throttled": "Attempts that were not charged, since the recipient's domain asked us to go slower.",
    "ambiguous": "Mails that may have gone out when their worker or their connection was lost.",
}
"""Counters of what a job may pass through before its end, more than once, and what they count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """
    Figures of one queue, or of several together.

    waiting, active and delayed are jobs now; the others were counted since counting began, see PASSED.
    """

    waiting: int
    active: int
    delayed: int
    """Jobs that wait for their time or for a retry."""

    completed: int = 0
    """Mails that were sent."""

    skipped: int = 0
    """Mails that were not sent, since their recipients get no mails of their types any more."""

    failed: int = 0
    """Jobs that became dead letters."""

    queued: int = 0
    ambiguous: int = 0
    retried: int = 0
    waited: int = 0
    throttled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The figures of all queues at one moment."""

    queues: Mapping[str, Mapping[str, int]]
    """Per queue: what stands there now."""

    counters: Mapping[str, int]
    """Since the beginning: "low:completed" by queue, "completed=progress-update" by label. See OUTCOMES and PASSED."""

    inbox: int
    """Dead letters that wait to be moved into the database."""

    flow: Mapping[str, str]
    """What holds mail back; flow.py reads it."""

    throttled: Mapping[str, float]
    """Domains that asked us to go slower, the next ones first, and the Unix time of their next probe; 100 at most."""

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        """Read what parts/figures.lua has found. In JSON an empty table may be an object or a list."""
        domains = list(found["throttled"])
        return cls(
            queues=found["queues"],
            counters={name: int(number) for name, number in dict(found["counters"]).items()},
            inbox=found["inbox"],
            flow=dict(found["flow"]),
            throttled=dict(zip(domains[::2], map(float, domains[1::2]), strict=True)),
        )

    def of(self, *queues: str) -> QueueFigures:
        """Return the figures of `queues` together."""
        now = {name: sum(self.queues[queue][name] for queue in queues) for name in NOW}
        names = (*OUTCOMES, *PASSED)
        since = {name: sum(self.counters.get(f"{queue}:{name}", 0) for queue in queues) for name in names}
        return QueueFigures(**now, **since)

    @property
    def stock_failed(self) -> int:
        """Jobs that workers of RQ's own class have failed."""
        return sum(self.queues[queue]["stock_failed"] for queue in QUEUES)
