"""
What the worker does for the database: it moves what Redis holds about dead letters into their rows.

The housekeeping thread of each worker calls these functions, with close_old_connections() before and after.
Any number of workers may do so at the same time, and each may be killed at any point: what is done twice
changes nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from django.db import DataError, IntegrityError, router, transaction
from django.utils import timezone
from redis import Redis

from emailqueue.enqueue.relay import YOUNG, in_doubt
from emailqueue.errors import EmailQueueError
from emailqueue.housekeeping import alerts
from emailqueue.housekeeping.rows import Rows, decoded, rows
from emailqueue.jobs.job import NewJob
from emailqueue.models import Attempt, DeadLetter, OutboxRow, Status
from emailqueue.signals import dead_lettered
from emailqueue.store import INBOX, REDELIVERED, Added, Store

logger = logging.getLogger(__name__)

BATCH = 100
"""Entries that one transaction moves."""

BAD_ROW = (DataError, IntegrityError, OverflowError, TypeError, ValueError)
"""What is raised for a row that cannot be stored; anything else says that the database is away or not migrated."""


def move_inbox(connection: Redis) -> int:
    """
    Move the entries of the inbox into the database and return how many were moved.

    An entry is deleted after its commit. One that the database refuses stays and is logged. While the
    database is away, all stay, and Django's OperationalError or another DatabaseError is raised.
    """
    moved = 0
    entries = connection.hscan_iter(INBOX, count=BATCH)
    while batch := dict(islice(entries, BATCH)):
        stored, new = _store_batch({name: rows(decoded(name), entry) for name, entry in batch.items()})
        if stored:
            connection.hdel(INBOX, *stored)
        moved += len(stored)
        _announce(connection, new)
    return moved


def _announce(connection: Redis, letters: Sequence[DeadLetter]) -> None:
    """Hand dead letters whose transaction has committed to receivers and to the alerts."""
    for letter in letters:
        for receiver, answer in dead_lettered.send_robust(sender=DeadLetter, dead_letter=letter):
            if isinstance(answer, Exception):
                logger.error("a receiver of dead_lettered failed", extra={"receiver": repr(receiver)}, exc_info=answer)
    alerts.count(connection, letters)


def close_redelivered(connection: Redis) -> int:
    """Mark the dead letters whose retry was sent, and return how many changed."""
    closed = 0
    while batch := _first_redelivered(connection):
        retried = DeadLetter.objects.filter(pk__in=map(decoded, batch), status=Status.RETRYING)
        closed += retried.update(status=Status.SENT, closed_at=timezone.now())
        # By value: a trim by position would take what another worker has not read yet.
        with connection.pipeline(transaction=False) as pipeline:
            for pk in batch:
                pipeline.lrem(REDELIVERED, 0, pk)
            pipeline.execute()
    return closed


def _first_redelivered(connection: Redis) -> Any:
    return connection.lrange(REDELIVERED, 0, BATCH - 1)


def push_retries(store: Store) -> int:
    """
    Offer Redis the jobs of dead letters that have been retrying for a while, and return how many were new to it.

    It was away when they were retried, or it has forgotten them since.
    """
    pushed, last = 0, ""
    retrying = DeadLetter.objects.filter(status=Status.RETRYING, retried_at__lt=timezone.now() - YOUNG).order_by("pk")
    while letters := list(retrying.filter(pk__gt=last)[:BATCH]):
        state = store.outbox_state()
        jobs = [
            replace(job, ambiguous=in_doubt(letter.retried_at, state))
            for letter in letters
            if letter.retried_at and (job := _retried_job(letter))
        ]
        pushed += store.enqueue(jobs, relayed=True).count(Added.NEW)
        last = letters[-1].pk
    return pushed


def _retried_job(letter: DeadLetter) -> NewJob | None:
    try:
        return letter.retried_job()
    except EmailQueueError as error:  # its e-mail type has gone since
        extra = {"dead_letter": letter.pk, "error_class": type(error).__name__}
        logger.error("retry cannot be made again", extra=extra)  # noqa: TRY400
        return None


def _store_batch(batch: Mapping[bytes, Rows]) -> tuple[list[bytes], list[DeadLetter]]:
    """Store all, or one by one if the database refuses; return the names of what is stored, and new dead letters."""
    try:
        return list(batch), _store(list(batch.values()))
    except BAD_ROW as error:
        if len(batch) == 1:
            _report(next(iter(batch)), error)
            return [], []
    parts = [_store_batch({name: entry}) for name, entry in batch.items()]
    return [name for names, _new in parts for name in names], [letter for _names, new in parts for letter in new]


_reported: set[bytes] = set()


def _report(name: bytes, error: Exception) -> None:
    """Log once that an entry is refused, without message and traceback: PostgreSQL quotes the row with its address."""
    if name not in _reported:
        _reported.add(name)
        extra = {"dead_letter": decoded(name), "error_class": type(error).__name__}
        logger.error("dead letter refused by the database, it stays in the inbox", extra=extra)


def _store(batch: Sequence[Rows]) -> list[DeadLetter]:
    """Store dead letters and attempts, and return the dead letters that were not there before."""
    alias = router.db_for_write(DeadLetter)
    table = DeadLetter.objects.using(alias)
    letters = [letter for letter, _ in batch]
    with transaction.atomic(using=alias):
        ids = {letter.pk for letter in letters}
        same = table.filter(pk__in=ids)
        present = set(same.values_list("pk", flat=True))
        table.bulk_create(letters, ignore_conflicts=True)
        # SQLite ignores rows that break any constraint, not only those that are there already.
        if same.count() != len(ids):
            raise IntegrityError("A dead letter breaks a constraint.")
        attempts = [attempt for _, attempts in batch for attempt in attempts]
        Attempt.objects.using(alias).bulk_create(attempts, ignore_conflicts=True)
        OutboxRow.objects.forget([letter.job_id for letter in letters])
        retried = table.filter(pk__in=[letter.redrives for letter in letters if letter.redrives])
        retried.filter(status=Status.RETRYING).update(status=Status.FAILED_AGAIN, closed_at=timezone.now())
    return [letter for letter in letters if letter.pk not in present]
