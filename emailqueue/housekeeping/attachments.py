"""
How the files of large attachments go when their jobs have ended.

A job needs its files while it is on its way in Redis, while an outbox row or a dead letter holds it, and, where nothing
is known of it, for an hour after it was queued: its transaction may not have committed yet. Files that were stored in a
transaction that was rolled back have no row; they are found in the storage itself, days later.
"""

import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, timedelta
from functools import reduce
from operator import or_

from django.core.files.storage import Storage
from django.db import router, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from emailqueue.mail.attachments import KeptFiles, project_folder, storage
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.store import Store, Whereabouts

logger = logging.getLogger(__name__)

BATCH = 100
"""Rows that are looked at together: one query names each of those that have ended."""
YOUNG = timedelta(hours=1)
"""Age below which a job that nobody knows may still be queued."""
MOST = 1000
"""Messages whose files one sweep deletes."""
MOST_ERRORS = 5
"""Failures that end a sweep: the storage is away."""
LOST = timedelta(days=2)
"""Age from which a file without a row belongs to nobody."""


def sweep(store: Store) -> int:
    """Delete the files of messages all of whose jobs have ended, and return of how many messages. Repeatable."""
    last = 0
    while rows := list(_unneeded().filter(ended=False, pk__gt=last).order_by("pk")[:BATCH]):
        last = rows[-1].pk
        if ended := _ended(rows, store):
            _mark(ended)
    return _count(_delete, _done())


def sweep_lost(*, today: date | None = None) -> int:
    """Delete what lies in the storage and belongs to no row, and return how many files."""
    latest = (today or timezone.now().date()) - LOST
    place, ours = storage(), project_folder()
    days = []
    for day in _folders(place, ours):
        with suppress(ValueError):  # not by us
            if date.fromisoformat(day) <= latest:
                days.append(f"{ours}/{day}")
    return _count(lambda day: _sweep_day(place, day), days)


def _count(delete: Callable[[str], int], places: Iterable[str]) -> int:
    """Return the sum of what is deleted. What fails is left for later, and logged once; more than a few end it."""
    deleted, errors = 0, []
    for place in places:
        try:
            deleted += delete(place)
        except Exception as error:  # noqa: BLE001 - storages raise anything
            errors.append(error)
            if len(errors) == MOST_ERRORS:
                break
    if errors:
        extra = {"failed": len(errors), "error": f"{type(errors[0]).__name__}: {errors[0]}"}
        logger.warning("attachments are not deleted", extra=extra)
    return deleted


def _unneeded() -> QuerySet[KeptFiles]:
    """Return the rows whose jobs neither a dead letter nor the outbox may still run."""
    letters = DeadLetter.objects.filter(job_id=OuterRef("job_id"))
    outbox = OutboxRow.objects.filter(job_id=OuterRef("job_id"))
    return KeptFiles.objects.exclude(Exists(letters)).exclude(Exists(outbox))


def _ended(rows: list[KeptFiles], store: Store) -> list[KeptFiles]:
    young = timezone.now() - YOUNG
    places, inbox = store.whereabouts([row.job_id for row in rows])
    ended = []
    for row, place in zip(rows, places, strict=True):
        # What Redis does not know may be a dead letter that is not in the database yet.
        gone = place is Whereabouts.ENDED or (place is Whereabouts.UNKNOWN and row.created_at < young)
        if place is Whereabouts.SENT or (gone and not inbox):
            ended.append(row)
    return ended


def _mark(rows: list[KeptFiles]) -> None:
    """Mark rows whose jobs have ended, if they are as they were read: a job may have stored another file since."""
    as_read = reduce(or_, (Q(pk=row.pk, created_at=row.created_at) for row in rows))
    # Needed again: a dead letter has come into the database since. Asked after Redis was, so none is in between.
    _unneeded().filter(as_read).update(ended=True)


def _done() -> list[str]:
    """Return messages none of whose jobs needs the files any more, of many some."""
    needed = KeptFiles.objects.filter(message=OuterRef("message"), ended=False)
    done = KeptFiles.objects.filter(ended=True).exclude(Exists(needed))
    messages = list(done.values_list("message", flat=True).distinct())
    # By chance: some that cannot be deleted do not keep the others from it.
    return random.sample(messages, min(len(messages), MOST))


def _delete(message: str) -> int:
    """Delete the files of a message and then, in one with it, its rows; nothing if a job has come to need them."""
    alias, place = router.db_for_write(KeptFiles), storage()
    with transaction.atomic(using=alias):
        rows = KeptFiles.objects.using(alias).filter(message=message)
        names = {name: None for names in rows.values_list("names", flat=True) for name in names}
        deleted = rows.filter(ended=True).delete()[0]
        if rows.exists():
            transaction.set_rollback(True, using=alias)
            return 0
        # Killed in between, the rows are there again, and the files deleted again, which is no error.
        for name in names:
            place.delete(name)
            _delete_folder(place, name.rpartition("/")[0])
    return int(bool(deleted))


def _sweep_day(place: Storage, folder: str) -> int:
    deleted = 0
    needed = {name.rpartition("/")[0] for names in KeptFiles.objects.values_list("names", flat=True) for name in names}
    for message in _folders(place, folder):
        inner = f"{folder}/{message}"
        if inner in needed:
            continue
        for name in place.listdir(inner)[1]:
            place.delete(f"{inner}/{name}")
            deleted += 1
        _delete_folder(place, inner)
    _delete_folder(place, folder)
    return deleted


def _folders(place: Storage, path: str) -> list[str]:
    """Return the folders in a folder; none where there is no such thing, or the storage cannot say."""
    try:
        return list(place.listdir(path)[0])
    except (FileNotFoundError, NotImplementedError):
        return []


def _delete_folder(place: Storage, path: str) -> None:
    """Delete a folder that is empty; to many storages there is none."""
    with suppress(FileNotFoundError, NotImplementedError):
        folders, files = place.listdir(path)
        if not folders and not files:
            place.delete(path)
