"""The functions that queue e-mails: what a project calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.email_types import EmailType
from emailqueue.enqueue.call import Options, Recipient, checked_recipients, due
from emailqueue.enqueue.submit import submit, submit_bulk
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.priority import Priority
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.redis import connect
from emailqueue.redis.report import unavailable
from emailqueue.schema.shape import Context
from emailqueue.store import Store


class Common(TypedDict, total=False):
    """What every queue function takes beside recipient and context."""

    priority: Priority | int | str | None
    """Default: that of the e-mail type."""

    attempts: int | None
    """Times that the mail is tried in all. Default: EMAIL_QUEUE["ATTEMPTS"]."""

    backoff: Backoff | Mapping[str, object] | None
    """Waits between the attempts. Default: EMAIL_QUEUE["BACKOFF"]."""

    language: str | None
    """Language of the mail, one of LANGUAGES. Default: what the e-mail type says, or LANGUAGE_CODE."""

    idempotency_key: str | None
    """Two calls with the same key within 24 hours queue one mail."""


class PerCall(Common, total=False):
    """What the functions take that do not schedule by their name."""

    delay: float | timedelta | None
    """Seconds to wait before the mail is due."""

    at: datetime | None
    """Time at which the mail is due; aware. The past means now."""


def queue_email(
    email_type: str | EmailType,
    to: str,
    context: Context,
    *,
    using: str | None = None,
    **options: Unpack[PerCall],
) -> str:
    """
    Queue one e-mail and return its job id (32 hex digits).

    Inside a transaction of the database `using` (default: "default") the job reaches Redis on
    commit, and never after a rollback. Everything is checked before: raises UnknownEmailType,
    InvalidContext, MissingContext, InvalidAddress, InvalidPriority, InvalidAttempts,
    InvalidBackoff, InvalidTime, InvalidLanguage or InvalidIdempotencyKey. `context` is a mapping, or an
    object of the type's dataclass. Redis away: the mail waits in the outbox table, and the call takes a
    second at most.
    """
    job = Options.parse(email_type, **options).job(to, context)
    submit([job], using=using)
    return job.id


def queue_bulk_emails(
    email_type: str | EmailType,
    recipients: Iterable[Recipient],
    context: Context,
    *,
    using: str | None = None,
    **options: Unpack[PerCall],
) -> list[str]:
    """
    Queue one e-mail for each recipient, all or none of them, and return the job ids in order.

    A recipient is an address, or a tuple (address, own context) whose fields overlay `context`.
    Raises what queue_email() raises, before anything is queued, and TooManyRecipients above
    100,000. An idempotency key covers the whole call.
    """
    parsed = Options.parse(email_type, **options)
    each = checked_recipients(recipients, context, email_type=parsed.email_type)
    checked = [parsed.checked(to, own) for to, own in each]
    key = parsed.idempotency_key
    jobs = [
        parsed.unchecked_job(to, own, key=None if key is None else f"{key}\0{number}")
        for number, (to, own) in enumerate(checked)
    ]
    submit_bulk(jobs, idempotency_key=key, using=using)
    return [job.id for job in jobs]


def schedule_email(
    email_type: str | EmailType,
    to: str,
    context: Context,
    at: datetime,
    *,
    using: str | None = None,
    **options: Unpack[Common],
) -> str:
    """Queue one e-mail that is due at `at`, an aware datetime (InvalidTime otherwise). See queue_email()."""
    return queue_email(email_type, to, context, using=using, at=at, **options)


def cancel_email(job_id: str) -> bool:
    """
    Cancel a mail that waits or is scheduled; False when a worker has claimed it already or it is unknown.

    Acts at once, also inside a transaction. Its idempotency key becomes free, and a dead letter that it was the
    retry of is open again. Raises RedisUnavailable.
    """
    try:
        cancelled = Store(connect()).cancel(job_id)
    except (RedisError, OSError) as error:
        raise unavailable(error, so=f"{job_id!r} may not be cancelled") from error
    if isinstance(cancelled, str):
        DeadLetter.objects.filter(pk=cancelled).reopen()
    if cancelled and _rows_stay():
        OutboxRow.objects.forget([job_id])
    return bool(cancelled)


def reschedule_email(job_id: str, at: datetime) -> bool:
    """
    Move a mail that waits or is scheduled to `at`; False when a worker has claimed it already or it is unknown.

    Acts at once, also inside a transaction. Raises InvalidTime or RedisUnavailable.
    """
    moment = due(at=at)
    try:
        moved = Store(connect()).reschedule(job_id, moment)
    except (RedisError, OSError) as error:
        raise unavailable(error, so=f"{job_id!r} may not be moved") from error
    if moved and _rows_stay():
        OutboxRow.objects.reschedule(job_id, moment)
    return moved


def _rows_stay() -> bool:
    return get_settings().outbox == "always"
