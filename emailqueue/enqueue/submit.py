"""When jobs reach Redis: after the commit, once, and by way of the database while Redis is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db import router, transaction
from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.enqueue.staging import Staging, present_staging
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.job import NewJob, new_id
from emailqueue.jobs.outcome import Staged
from emailqueue.redis import connect, revive
from emailqueue.redis.report import unavailable
from emailqueue.store import Added, Store, staging_key

logger = logging.getLogger(__name__)

AVOID = 5.0
"""Seconds after a failure during which Redis is not asked again: a request must not wait for a dead server."""

Push = Callable[[Store], Sequence[Added]]


@dataclass(slots=True)
class Absence:
    """This process's memory of a Redis that did not answer."""

    until: float = 0.0
    """When it may be asked again (time.monotonic)."""

    def lasts(self) -> bool:
        """Whether Redis is better not asked."""
        return time.monotonic() < self.until

    def begin(self) -> None:
        """Remember that Redis did not answer just now."""
        self.until = time.monotonic() + AVOID


absence = Absence()


def submit(jobs: Sequence[NewJob], *, using: str | None = None, has_row: bool = False) -> None:
    """
    Put up to PIECE jobs into Redis once the transaction of database `using` commits; never after a rollback.

    Redis away: they go into the outbox table, from where a worker relays them; with EMAIL_QUEUE["OUTBOX"]
    "always" they are there from the call until they have ended. With "off", RedisUnavailable is raised, or
    logged where the commit is what fails. `has_row`: the caller looks after that by a row of its own.
    """
    _submit(jobs, lambda store: store.enqueue(jobs), using=using, has_row=has_row)


def submit_at_once(jobs: Sequence[NewJob]) -> None:
    """Put up to PIECE jobs into Redis now, whatever becomes of the transaction or of the job that runs."""
    _push_or_keep(jobs, lambda store: store.enqueue(jobs), has_row=False)


def submit_bulk(jobs: Sequence[NewJob], *, idempotency_key: str | None, using: str | None = None) -> None:
    """Put the jobs of one bulk call into Redis, all or none, at the same moment as submit() would."""
    call = new_id(f"bulk:{idempotency_key}") if idempotency_key is not None else ""
    if jobs:
        _submit(jobs, lambda store: store.enqueue_bulk(jobs, call=call), using=using, has_row=False)


def stage(staging: Staging, store: Store) -> Staged | None:
    """
    Store what a job has queued, ready to become visible when the job is settled.

    With "always" the rows come first: from then on these jobs are looked after, although the one that queued them
    may run again. That makes no other jobs, since their ids would be the same.
    """
    if not staging.jobs:
        return None
    if get_settings().outbox == "always":
        OutboxRow.objects.keep(staging.jobs)
    key = staging_key()
    return Staged(key=key, count=store.stage(key, staging.jobs))


def after_commit(action: Callable[[], None], *, using: str | None) -> None:
    """Run `action` when the transaction of `using` commits, or now when there is none."""
    if _in_transaction(using):
        transaction.on_commit(action, using=using, robust=True)
    else:
        action()


def _in_transaction(using: str | None) -> bool:
    connection = transaction.get_connection(using)
    # Asked like this, a caller that has not touched the database opens no connection to it.
    return connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)


def _submit(jobs: Sequence[NewJob], push: Push, *, using: str | None, has_row: bool) -> None:
    staging = present_staging()
    if staging is not None:
        after_commit(lambda: staging.add(jobs), using=using)
    elif has_row or get_settings().outbox != "always":
        after_commit(lambda: _push_or_keep(jobs, push, has_row=has_row), using=using)
    elif _in_transaction(using) and (using or "default") != router.db_for_write(OutboxRow):
        after_commit(lambda: _keep_and_push(jobs, push), using=using)
    else:
        OutboxRow.objects.keep(jobs)
        after_commit(lambda: _push(jobs, push), using=using)


def _keep_and_push(jobs: Sequence[NewJob], push: Push) -> None:
    OutboxRow.objects.keep(jobs)
    _push(jobs, push)


def _push_or_keep(jobs: Sequence[NewJob], push: Push, *, has_row: bool) -> None:
    try:
        _push_now(push)
    except RedisUnavailable as error:
        if get_settings().outbox == "off" and not has_row:
            raise
        _log_waiting(jobs, error)
        if not has_row:
            # A call whose reply was lost may have been queued. The relay adds ids that are unknown only.
            OutboxRow.objects.keep(jobs, pushed=not isinstance(error, _Unasked))


def _push(jobs: Sequence[NewJob], push: Push) -> None:
    """Push jobs that have rows; what goes wrong is left to the relay."""
    try:
        added = _push_now(push)
    except RedisUnavailable as error:
        _log_waiting(jobs, error)
        return
    # Nothing will end these any more: their idempotency key was known.
    OutboxRow.objects.forget([job.id for job, answer in zip(jobs, added, strict=True) if answer is Added.ENDED])


class _Unasked(RedisUnavailable):
    """Redis was not reached at all, so it cannot have taken the jobs."""


def _push_now(push: Push) -> Sequence[Added]:
    if absence.lasts():
        raise _Unasked("Redis did not answer some seconds ago.")
    try:
        return push(Store(connect()))
    except (RedisError, OSError) as error:
        absence.begin()
        with suppress(OSError):
            revive()
        # redis-py raises its own error while it handles the socket's.
        refused = isinstance(error.__context__, ConnectionRefusedError | FileNotFoundError)
        kind = _Unasked if refused else RedisUnavailable
        raise kind(str(unavailable(error))) from error


def _log_waiting(jobs: Sequence[NewJob], error: RedisUnavailable) -> None:
    # In the message, since a project's own format of log lines shows no extra.
    logger.warning("jobs wait in the database: %s", error, extra={"jobs": len(jobs)})
