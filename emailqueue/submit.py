"""When jobs reach Redis: after the commit, once, and by way of the database while Redis is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db import transaction
from redis import RedisError

from emailqueue.jobs import NewJob, new_id
from emailqueue.outbox import OutboxRow
from emailqueue.redis import connect, revive
from emailqueue.store import PIECE, Store

logger = logging.getLogger(__name__)

AVOID = 5.0
"""Seconds after a failure during which Redis is not asked again: a request must not wait for a dead server."""


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


def submit(jobs: Sequence[NewJob], *, using: str | None = None) -> None:
    """
    Put a few jobs into Redis once the transaction of database `using` commits; never after a rollback.

    Redis away: they go into the outbox table, from where a worker relays them.
    """
    after_commit(lambda: _push_or_keep(jobs, lambda store: store.enqueue(jobs)), using=using)


def submit_bulk(jobs: Sequence[NewJob], *, idempotency_key: str | None, using: str | None = None) -> None:
    """Put the jobs of one bulk call into Redis, all or none, at the same moment as submit() would."""
    if not jobs:
        return
    first = jobs[0]
    call = new_id(f"bulk:{idempotency_key}") if idempotency_key is not None else ""

    def enqueue(store: Store) -> object:
        return store.enqueue_bulk(jobs, queue=first.queue, label=first.label, due=first.due, call=call)

    after_commit(lambda: _push_or_keep(jobs, enqueue), using=using)


def after_commit(action: Callable[[], None], *, using: str | None) -> None:
    """Run `action` when the transaction of `using` commits, or now when there is none."""
    connection = transaction.get_connection(using)
    # Asked like this, a caller that has not touched the database opens no connection to it.
    if connection.in_atomic_block or (connection.connection is not None and not connection.get_autocommit()):
        transaction.on_commit(action, using=using, robust=True)
    else:
        action()


def _push_or_keep(jobs: Sequence[NewJob], enqueue: Callable[[Store], object]) -> None:
    if not absence.lasts():
        try:
            enqueue(Store(connect()))
        except (RedisError, OSError) as error:
            absence.begin()
            logger.warning("redis is away, jobs go to the outbox", extra={"jobs": len(jobs), "error": str(error)})
            with suppress(OSError):
                revive()
        else:
            return
    # A call whose reply was lost may have been queued. The relay adds ids that are unknown only, so that no
    # harm is done.
    OutboxRow.objects.keep(jobs)


def relay(store: Store) -> int:
    """Move the rows of the outbox into Redis, oldest first, and return how many there were."""
    relayed = 0
    while rows := list(OutboxRow.objects.order_by("id")[:PIECE]):
        store.enqueue([row.new_job() for row in rows])
        # Deleted last: killed in between, the rows are relayed again, and their ids are known then.
        OutboxRow.objects.filter(pk__in=[row.pk for row in rows]).delete()
        relayed += len(rows)
    return relayed
