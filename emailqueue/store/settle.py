"""What a worker writes about the jobs that it had; settle.lua is the other end."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from emailqueue.jobs.job import Job
from emailqueue.jobs.outcome import Staged


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is written about one job that a worker had."""

    job: Job
    verb: str
    """
    sent: or done, or skipped. retry: at its time, charged. wait: what it needs is away. throttle: its domain asks us to
    go slower. back: to the head of its queue, as if it had not been claimed. dead: into the inbox of dead letters.
    """

    seconds: float = 0.0
    """How long the job ran."""

    skipped: bool = False
    """Whether a job that is sent was none, since its recipient gets no such mails."""

    staged: Staged | None = None
    """What a job that is sent or done has queued, which becomes visible now."""

    due: float = 0.0
    """Seconds until a retry, or until what waits for a part of ours; 0 for what waits for the mail server."""

    ambiguous: bool = False
    """Whether it is to be counted as maybe sent."""

    history: str = ""
    inbox_id: str = ""
    """Id of the new dead letter, under which `record` is put into the inbox."""

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
        job = {name: getattr(self.job, name) for name in ("id", "queue", "label", "token", "dead_letter")}
        staged = self.staged or Staged(key="", count=0)
        return {
            **job,
            **{name: getattr(self, name) for name in _WRITTEN},
            "counted_in": self.job.counted_in(),
            "is_outage": self.is_outage,
            "staging": staged.key,
            "staged": staged.count,
            **({"otherwise": self.otherwise.as_json()} if self.otherwise else {}),
        }


_WRITTEN = [field.name for field in fields(Settlement) if field.name not in ("job", "staged", "otherwise")]


class Settled(IntEnum):
    """What a settlement has changed; false when nothing, because the lease was lost."""

    LEASE_LOST = 0
    WRITTEN = 1
    OUTAGE_BEGAN = 2
    ACCOUNT_REFUSED = 3
    """Written, and it is the first word in this outage that the mail server refuses our account."""
    OUTAGE_ENDED = 4


PROBING = {"first": 1.0, "most": 60.0}
"""Seconds between two probes of a mail server that is away, doubled each time."""
THROTTLING = {"first": 5.0, "most": 900.0}
"""The same of a domain that asks us to go slower."""
