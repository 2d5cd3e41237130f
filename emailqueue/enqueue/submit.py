"""
How jobs reach Redis.

1. They wait for the commit of the caller's transaction; a rollback takes them along.
2. They are pushed into Redis, unless it has just been found to be away.
3. While Redis is away they are kept in the outbox table, from where a worker relays them. With EMAIL_QUEUE["OUTBOX"]
   "always" they are kept there from the call until they have ended.

A worker's own job takes another way: what it submits is staged, and becomes visible when that job is settled.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db import router, transaction
from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.enqueue.staging import present_staging
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.job import NewJob
from emailqueue.redis import connect, revive
from emailqueue.redis.problems import unavailable
from emailqueue.store import Added, Store

logger = logging.getLogger(__name__)

AVOID = 5.0
"""Seconds after a failure during which Redis is not asked again: a request must not wait for a dead server."""


@dataclass(slots=True)
class Absence:
    """This process's memory of a Redis that did not answer."""

    until: float = 0.0
    """When it may be asked again (time.monotonic)."""

    def lasts(self) -> bool:
        """Return whether Redis is better not asked."""
        return time.monotonic() < self.until

    def begin(self) -> None:
        """Remember that Redis did not answer just now."""
        self.until = time.monotonic() + AVOID


absence = Absence()


def submit(jobs: Sequence[NewJob], *, using: str | None = None, call: str = "", has_row: bool = False) -> None:
    """
    Put `jobs` into Redis, all or none, once the transaction of database `using` commits; never after a rollback.

    `call`: id of the idempotency key of a bulk call. `has_row`: a row of the caller's stands for the jobs until they
    have ended. With EMAIL_QUEUE["OUTBOX"] "off", a Redis that is away raises RedisUnavailable, or is logged where the
    commit is what fails.
    """
    if not jobs:
        return
    if staging := present_staging.get():
        _after_commit(lambda: staging.add(jobs), using=using)
        return
    if get_settings().outbox == "always" and not has_row:
        _keep(jobs, using=using)
        has_row = True
    _after_commit(lambda: push(jobs, call=call, has_row=has_row), using=using)


def push(jobs: Sequence[NewJob], *, call: str = "", has_row: bool = False) -> None:
    """Put `jobs` into Redis now; while it is away, leave them to their rows, or keep them in the outbox."""
    try:
        added = _ask(lambda store: store.enqueue_bulk(jobs, call=call))
    except RedisUnavailable as error:
        if get_settings().outbox == "off" and not has_row:
            raise
        # In the message, since a project's own format of log lines shows no extra.
        logger.warning("jobs wait in the database: %s", error, extra={"jobs": len(jobs)})
        if not has_row:
            # A call whose reply was lost may have been queued. The relay adds ids that are unknown only.
            OutboxRow.objects.keep(jobs, pushed=not isinstance(error, _Unasked))
        return
    if has_row:
        # Nothing will end those any more whose idempotency key was known.
        OutboxRow.objects.forget([job.id for job, answer in zip(jobs, added, strict=True) if answer is Added.ENDED])


def _keep(jobs: Sequence[NewJob], *, using: str | None) -> None:
    """Write rows with the caller's transaction, or right after it when that is another database's."""
    if (using or "default") == router.db_for_write(OutboxRow):
        OutboxRow.objects.keep(jobs)
    else:
        _after_commit(lambda: OutboxRow.objects.keep(jobs), using=using)


def _after_commit(action: Callable[[], None], *, using: str | None) -> None:
    """Run `action` when the transaction of `using` commits, or now when there is none."""
    connection = transaction.get_connection(using)
    # Asked like this, a caller that has not touched the database opens no connection to it.
    if connection.in_atomic_block or (connection.connection is not None and not connection.autocommit):
        transaction.on_commit(action, using=using, robust=True)
    else:
        action()


class _Unasked(RedisUnavailable):
    """Redis was not reached at all, so it cannot have taken the jobs."""


def _ask(question: Callable[[Store], Sequence[Added]]) -> Sequence[Added]:
    if absence.lasts():
        raise _Unasked("Redis did not answer some seconds ago.")
    try:
        return question(Store(connect()))
    except (RedisError, OSError) as error:
        absence.begin()
        with suppress(OSError):
            revive()
        # redis-py raises its own error while it handles the socket's.
        refused = isinstance(error.__context__, ConnectionRefusedError | FileNotFoundError)
        kind = _Unasked if refused else RedisUnavailable
        raise kind(str(unavailable(error))) from error
