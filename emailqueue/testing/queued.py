"""What a test sees of a queued mail, and which mails fit what it expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from redis import Redis

from emailqueue.email_types import EmailType
from emailqueue.jobs import Job, MalformedJob
from emailqueue.priority import EVENT_QUEUE, QUEUES, Priority

PRECISION = timedelta(milliseconds=1)
"""Difference between two times that counts as none: they went through floating point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedEmail:
    """One mail that was queued."""

    job_id: str
    email_type: str
    """Name of its type."""

    to: str
    context: Mapping[str, Any]
    """With its defaults filled in."""

    priority: Priority
    queued_at: datetime
    due: datetime
    """Not before this time; that of the call when it is due at once."""

    attempts: int
    """Times that it is tried in all."""

    language: str | None
    """What the call said."""

    arguments: Mapping[str, Any] = field(repr=False)
    """All that its job holds."""

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """Return the mail of a job; None when it is none."""
        try:
            if job.counted_in() == EVENT_QUEUE:
                return None
            arguments = job.arguments()
        except MalformedJob:
            return None
        queued_at = datetime.fromisoformat(job.created_at)
        return cls(
            job_id=job.id,
            email_type=job.label,
            to=str(arguments.get("to", "")),
            context=arguments.get("context") or {},
            priority=Priority.parse(job.queue),
            queued_at=queued_at,
            due=max(queued_at, datetime.fromtimestamp(job.due_at, tz=UTC)),
            attempts=job.attempts(),
            language=arguments.get("language"),
            arguments=arguments,
        )

    def __str__(self) -> str:
        wait = self.due - self.queued_at
        when = "at once" if wait < PRECISION else f"at {self.due.isoformat()} (after {wait})"
        return f"{self.email_type} to {self.to}, {self.priority.queue}, {when}: {dict(self.context)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a test says about a mail; None is anything."""

    email_type: str | EmailType | None = None
    to: str | None = None
    context: Mapping[str, Any] | None = None
    """Some of its fields."""

    priority: Priority | int | str | None = None
    delay: float | timedelta | None = None
    """From the call to the time when it is due; 0 is at once."""

    at: datetime | None = None
    language: str | None = None

    def fits(self, email: QueuedEmail) -> bool:
        """Return whether the mail is what the test says."""
        return (
            self.email_type in (None, email.email_type)
            or (isinstance(self.email_type, EmailType) and self.email_type.name == email.email_type)
        ) and all([self.to in (None, email.to), self._fits_context(email), self._fits_place(email)])

    def _fits_context(self, email: QueuedEmail) -> bool:
        missing = object()
        return all(email.context.get(key, missing) == value for key, value in (self.context or {}).items())

    def _fits_place(self, email: QueuedEmail) -> bool:
        if self.priority is not None and Priority.parse(self.priority) is not email.priority:
            return False
        if self.language not in (None, email.language):
            return False
        if self.delay is not None:
            delay = self.delay if isinstance(self.delay, timedelta) else timedelta(seconds=self.delay)
            if abs(email.due - email.queued_at - delay) > PRECISION:
                return False
        return self.at is None or abs(email.due - self.at) <= PRECISION

    def __str__(self) -> str:
        name = self.email_type.name if isinstance(self.email_type, EmailType) else self.email_type
        said = {
            "type": name,
            "to": self.to,
            "context": self.context,
            "priority": self.priority,
            "delay": self.delay,
            "at": self.at and self.at.isoformat(),
            "language": self.language,
        }
        return ", ".join(f"{what} {value!r}" for what, value in said.items() if value is not None) or "any"


def waiting_jobs(connection: Redis) -> list[Job]:
    """Return the jobs that wait for their turn or for their time."""
    jobs = []
    for queue in QUEUES:
        ids: list[Any] = [
            *connection.lrange(f"rq:queue:{queue}", 0, -1),
            *connection.zrange(f"rq:scheduled:{queue}", 0, -1),
        ]
        jobs += [job for job_id in ids if (job := _read(connection, job_id.decode(), queue))]
    return jobs


def _read(connection: Redis, job_id: str, queue: str) -> Job | None:
    names = ["description", "data", "plan", "created_at", "due_at"]
    fields: Any = connection.hmget(f"rq:job:{job_id}", names)
    label, data, plan, created_at, due_at = fields
    if data is None:
        return None
    return Job(
        id=job_id,
        queue=queue,
        token="",
        label=label.decode(),
        data=data,
        plan=plan or b"",
        created_at=created_at.decode(),
        due_at=float(due_at or 0),
    )
