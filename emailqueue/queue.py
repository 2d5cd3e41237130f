"""The functions that queue e-mails: what a project calls."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Unpack

from emailqueue.conf import get_settings
from emailqueue.email_types import C, EmailType, Recipient, get_email_type
from emailqueue.enqueue.call import Common, PerCall, due
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.redis.problems import asking_redis
from emailqueue.store import Store


def queue_email(
    email_type: str | EmailType[C],
    to: str,
    context: Mapping[str, Any] | C,
    *,
    using: str | None = None,
    **options: Unpack[PerCall],
) -> str:
    """Queue one e-mail of a type, or of the type of that name, and return its job id. See EmailType.queue()."""
    return get_email_type(email_type).queue(to, context, using=using, **options)


def queue_bulk_emails(
    email_type: str | EmailType[C],
    recipients: Iterable[Recipient[C]],
    context: Mapping[str, Any] | C,
    *,
    using: str | None = None,
    **options: Unpack[PerCall],
) -> list[str]:
    """Queue one e-mail for each recipient, all or none of them. See EmailType.queue_bulk()."""
    return get_email_type(email_type).queue_bulk(recipients, context, using=using, **options)


def schedule_email(
    email_type: str | EmailType[C],
    to: str,
    context: Mapping[str, Any] | C,
    at: datetime,
    *,
    using: str | None = None,
    **options: Unpack[Common],
) -> str:
    """Queue one e-mail that is due at `at`, an aware datetime. See EmailType.schedule()."""
    return get_email_type(email_type).schedule(to, context, at, using=using, **options)


def cancel_email(job_id: str) -> bool:
    """
    Cancel a mail that waits or is scheduled; False when a worker has claimed it already or it is unknown.

    Acts at once, also inside a transaction. Its idempotency key becomes free, and a dead letter that it was the
    retry of is open again. Raises RedisUnavailable.
    """
    with asking_redis(effect=f"{job_id!r} may not be cancelled") as connection:
        cancelled = Store(connection).cancel(job_id)
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
    with asking_redis(effect=f"{job_id!r} may not be moved") as connection:
        moved = Store(connection).reschedule(job_id, moment)
    if moved and _rows_stay():
        OutboxRow.objects.reschedule(job_id, moment)
    return moved


def _rows_stay() -> bool:
    return get_settings().outbox == "always"
