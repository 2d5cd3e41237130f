"""What a test sees of a queued mail, and which mails fit what it expects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self, TypedDict

from redis import Redis

from emailqueue.email_types import RESERVED, EmailType, get_email_type
from emailqueue.enqueue.call import due, valid_language
from emailqueue.jobs.job import FIELDS, Job
from emailqueue.jobs.priority import EVENT_QUEUE, QUEUES, Priority
from emailqueue.schema.fields import fields_of, is_object
from emailqueue.schema.schema import Context
from emailqueue.store import rq_key

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
    """Attempts at it in all."""

    language: str | None
    """What the call says."""

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


class Expectation(TypedDict, total=False):
    """What a test may expect of a mail beside its type; what is left out, or None, may be anything."""

    to: str | None
    context: Context | None
    """Fields that the context has, maybe among others."""

    priority: Priority | int | str | None
    delay: float | timedelta | None
    """Seconds from the call until it is due; 0: at once."""

    at: datetime | None
    """Time at which it is due."""

    language: str | None
    """What the call says."""

    subject: str | None
    """Of a mail that came by the e-mail backend, whose type is "message"."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a test expects of a mail."""

    fields: Mapping[str, Any]

    @classmethod
    def parse(cls, email_type: str | EmailType | None, expectation: Expectation) -> Self:
        """
        Check what a test expects, since a slip in assert_not_queued() would pass for ever.

        Raises TypeError, UnknownEmailType or one of the Invalid... errors.
        """
        if unknown := [name for name in expectation if name not in _PARSE]:
            raise TypeError(f"A mail has no {', '.join(map(repr, unknown))}. Say any of {', '.join(_PARSE)}.")
        fields = {name: _PARSE[name](value) for name, value in expectation.items() if value is not None}
        if email_type is not None:
            fields = {"type": email_type.name if isinstance(email_type, EmailType) else email_type, **fields}
            if email_type != RESERVED:
                schema = get_email_type(email_type).schema
                if context := fields.get("context"):
                    schema.known(expectation["context"])
                    given = {name: value for name, value in context.items() if value is not None}
                    fields["context"] = {**context, **schema.encode(given)}
        return cls(fields)

    def fits(self, email: QueuedEmail) -> bool:
        """Return whether the mail is what the test expects."""
        return all(_FITS[name](email, value) for name, value in self.fields.items())

    def __str__(self) -> str:
        return ", ".join(f"{name} {value!r}" for name, value in self.fields.items()) or "any"


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}. Use a string.")
    return value


def _context(context: Any) -> Mapping[str, Any]:
    """Return the fields that a test expects; of an object not those that are None, as in a mail."""
    if not is_object(context):
        return dict(context)
    return {name: value for name, value in fields_of(context).items() if value is not None}


_PARSE: Mapping[str, Callable[[Any], Any]] = {
    "to": partial(_text, "to"),
    "context": _context,
    "priority": Priority.parse,
    "delay": lambda delay: timedelta(seconds=float(due(delay=delay) or 0)),
    "at": lambda at: datetime.fromtimestamp(float(due(at=at)), tz=UTC),
    "language": valid_language,
    "subject": partial(_text, "subject"),
}

_FITS: Mapping[str, Callable[[QueuedEmail, Any], bool]] = {
    "type": lambda email, name: email.email_type == name,
    "to": lambda email, to: email.to == to,
    "context": lambda email, context: context.items() <= email.context.items(),
    "priority": lambda email, priority: email.priority is priority,
    "delay": lambda email, delay: abs(email.due - email.queued_at - delay) <= PRECISION,
    "at": lambda email, at: abs(email.due - at) <= PRECISION,
    "language": lambda email, language: email.language == language,
    "subject": lambda email, subject: email.subject == subject,
}


def waiting_jobs(connection: Redis) -> list[Job]:
    """Return the jobs that wait for their turn or for their time."""
    jobs = []
    for queue in QUEUES:
        ids: list[Any] = [
            *connection.lrange(rq_key("queue", queue), 0, -1),
            *connection.zrange(rq_key("scheduled", queue), 0, -1),
        ]
        jobs += [job for job_id in ids if (job := _read(connection, job_id.decode(), queue))]
    return jobs


def _read(connection: Redis, job_id: str, queue: str) -> Job | None:
    fields: Any = connection.hmget(f"rq:job:{job_id}", FIELDS)
    found = dict(zip(FIELDS, fields, strict=True))
    return Job.read(found, id=job_id, queue=queue) if found["data"] else None
