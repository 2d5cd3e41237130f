"""
How the files of large attachments go when their jobs have ended.

A job needs its files while it is on its way in Redis, while an outbox row or a dead letter holds it, and, where nothing
is known of it, for an hour after it was queued: its transaction may not have committed yet. Files that were stored in a
transaction that was rolled back have no row; they are found in the storage itself, days later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta

from django.core.files.storage import Storage
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from emailqueue.attachments import FOLDER, KeptFiles, storage
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.store import Store, Whereabouts

logger = logging.getLogger(__name__)

BATCH = 500
"""Jobs that Redis is asked about at once."""
YOUNG = timedelta(hours=1)
"""Age below which a job that nobody knows may still be queued."""
LOST = timedelta(days=2)
"""Age from which a file without a row belongs to nobody."""


def sweep(store: Store) -> int:
    """Delete the files of messages all of whose jobs have ended, and return of how many messages. Repeatable."""
    last = 0
    while rows := list(_unheld().filter(ended=False, pk__gt=last).order_by("pk")[:BATCH]):
        last = rows[-1].pk
        ended = _ended(rows, store)
        # Held again: a death has come into the database since. Asked after Redis was, so none is in between.
        _unheld().filter(pk__in=ended).update(ended=True)
    return sum(_delete(message) for message in _done())


def sweep_lost(*, today: date | None = None) -> int:
    """Delete what lies in the storage and belongs to no row, and return how many files."""
    latest = (today or timezone.now().date()) - LOST
    place = storage()
    deleted = 0
    for day in _folders(place, FOLDER):
        with suppress(ValueError):  # a folder of somebody else
            if date.fromisoformat(day) <= latest:
                deleted += _sweep_day(place, f"{FOLDER}/{day}")
    return deleted


def _unheld() -> QuerySet[KeptFiles]:
    """Return the rows whose jobs the database does not hold."""
    letters = DeadLetter.objects.filter(job_id=OuterRef("job_id"))
    outbox = OutboxRow.objects.filter(job_id=OuterRef("job_id"))
    return KeptFiles.objects.exclude(Exists(letters)).exclude(Exists(outbox))


def _ended(rows: list[KeptFiles], store: Store, *, now: datetime | None = None) -> list[int]:
    young = (now or timezone.now()) - YOUNG
    places, inbox = store.whereabouts([row.job_id for row in rows])
    ended = []
    for row, place in zip(rows, places, strict=True):
        # What Redis does not know may be a death that is not in the database yet.
        gone = place is Whereabouts.ENDED or (place is Whereabouts.UNKNOWN and row.created_at < young)
        if place is Whereabouts.SENT or (gone and not inbox):
            ended.append(row.pk)
    return ended


def _done() -> Iterator[str]:
    """Return the messages none of whose jobs needs the files any more."""
    needed = KeptFiles.objects.filter(message=OuterRef("message"), ended=False)
    done = KeptFiles.objects.filter(ended=True).exclude(Exists(needed))
    return iter(list(done.values_list("message", flat=True).distinct()))


def _delete(message: str) -> int:
    rows = list(KeptFiles.objects.filter(message=message))
    place = storage()
    for name in dict.fromkeys(name for row in rows for name in row.names):
        place.delete(name)
        _delete_folder(place, name.rpartition("/")[0])
    # Rows last: killed in between, the files are deleted again, which is no error.
    return int(bool(KeptFiles.objects.filter(pk__in=[row.pk for row in rows]).delete()[0]))


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
