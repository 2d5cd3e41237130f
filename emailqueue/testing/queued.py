"""What a test sees of a queued mail, and which mails fit what it expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast

from redis import Redis

from emailqueue.email_types import RESERVED, EmailType, get_email_type
from emailqueue.enqueue.call import due, valid_language
from emailqueue.jobs.job import FIELDS, Job
from emailqueue.jobs.priority import EVENT_QUEUE, QUEUES, Priority
from emailqueue.schema.fields import fields_of, is_object
from emailqueue.schema.schema import Context

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

    subject: str | None
    """Of Django's own mail, that came by the e-mail backend; None: it is rendered when the mail goes out."""

    arguments: Mapping[str, Any] = field(repr=False)
    """All that its job holds."""

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """Return the mail of a job; None when it is none."""
        arguments = job.call.arguments
        if arguments is None or job.counted_in() == EVENT_QUEUE:
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
            attempts=job.attempts,
            language=arguments.get("language"),
            subject=arguments["message"].get("subject") if job.label == RESERVED else None,
            arguments=arguments,
        )

    def __str__(self) -> str:
        wait = self.due - self.queued_at
        when = "at once" if wait < PRECISION else f"at {self.due.isoformat()} (after {wait})"
        what = repr(self.subject) if self.subject is not None else dict(self.context)
        return f"{self.email_type} to {self.to}, {self.priority.queue}, {when}: {what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a test says about a mail; None is anything."""

    email_type: str | EmailType | None = None
    to: str | None = None
    context: Context | None = None
    """Some of its fields."""

    priority: Priority | int | str | None = None
    delay: float | timedelta | None = None
    """From the call to the time when it is due; 0 is at once."""

    at: datetime | None = None
    language: str | None = None
    subject: str | None = None

    @classmethod
    def parse(cls, email_type: str | EmailType | None, said: Mapping[str, Any]) -> Self:
        """
        Check what a test says, since a slip in assert_not_queued() would pass for ever.

        Raises TypeError, UnknownEmailType or one of the Invalid... errors.
        """
        names = [entry.name for entry in fields(cls) if entry.name != "email_type"]
        if unknown := [name for name in said if name not in names]:
            raise TypeError(f"A mail has no {', '.join(map(repr, unknown))}. Say any of {', '.join(names)}.")
        expected = cls(email_type=email_type, **said)
        for name in ("to", "subject"):
            if not isinstance(getattr(expected, name), str | None):
                raise TypeError(f"{name} is {getattr(expected, name)!r}. Use a string.")
        due(delay=expected.delay)
        due(at=expected.at)
        if expected.priority is not None:
            Priority.parse(expected.priority)
        if expected.email_type not in (None, RESERVED):
            schema = get_email_type(expected._name()).schema
            schema.known(expected.context or {})
            context = _fields(expected.context)
            given = {name: value for name, value in context.items() if value is not None}
            expected = replace(expected, context={**context, **schema.encode(given)})
        return expected if expected.language is None else replace(expected, language=valid_language(expected.language))

    def fits(self, email: QueuedEmail) -> bool:
        """Return whether the mail is what the test says."""
        return all(
            [
                self.email_type is None or self._name() == email.email_type,
                self.to in (None, email.to),
                self.subject in (None, email.subject),
                self._fits_context(email),
                self._fits_place(email),
            ]
        )

    def _name(self) -> str:
        return self.email_type.name if isinstance(self.email_type, EmailType) else str(self.email_type)

    def _fits_context(self, email: QueuedEmail) -> bool:
        missing = object()
        return all(email.context.get(key, missing) == value for key, value in _fields(self.context).items())

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
        said = {
            "type": self.email_type and self._name(),
            "to": self.to,
            "context": self.context,
            "priority": self.priority,
            "delay": self.delay,
            "at": self.at and self.at.isoformat(),
            "language": self.language,
            "subject": self.subject,
        }
        return ", ".join(f"{what} {value!r}" for what, value in said.items() if value is not None) or "any"


def _fields(context: Context | None) -> Mapping[str, Any]:
    """Return the fields that a test says something about; of an object not those that are None, as in a mail."""
    if not is_object(context):
        return cast("Mapping[str, Any]", context or {})
    return {key: value for key, value in fields_of(context).items() if value is not None}


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
    fields: Any = connection.hmget(f"rq:job:{job_id}", FIELDS)
    found = dict(zip(FIELDS, fields, strict=True))
    return Job.read(found, id=job_id, queue=queue) if found["data"] else None
