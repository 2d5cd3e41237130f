"""Where jobs are now: in Redis, among the dead letters, or in the outbox."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _
from redis import Redis
from rq.defaults import RQ_KEY_PREFIX

from emailqueue.models import DeadLetter, OutboxRow, Status
from emailqueue.store import COMMITTED, INBOX

CHUNK = 500


class Place(models.TextChoices):
    """Where a job is."""

    WAITING = "waiting", _("waiting")
    SCHEDULED = "scheduled", _("scheduled, or waiting to be tried again")
    WORKER = "worker", _("with a worker")
    SENT = "sent", _("done")
    SKIPPED = "skipped", _("skipped, since the recipient gets no such mails")
    DEAD = "dead letter", _("dead letter")
    OUTBOX = "outbox", _("waiting in the outbox")
    ENDED = "ended", _("done or cancelled, some minutes ago or more")
    UNKNOWN = "unknown", _("unknown")


_in_redis = {b"queue": Place.WAITING, b"scheduled": Place.SCHEDULED, b"lease": Place.WORKER, b"sent": Place.SENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where one job is."""

    place: Place
    letter: str = ""
    """Id of its dead letter, if it has one."""


def whereabouts(job_ids: Iterable[str], *, connection: Redis) -> dict[str, Whereabouts]:
    """
    Return where each of some jobs is: one round trip to Redis, two queries for each 500 of them.

    Redis forgets a job some minutes after its end. One that it does not hold, and that is no dead letter, has
    ended: the caller has to know that it was ever queued. While dead letters or queued mails are on their way,
    that cannot be told. Raises redis.RedisError.
    """
    wanted = list(dict.fromkeys(job_ids))
    with connection.pipeline(transaction=False) as pipeline:
        for job_id in wanted:
            pipeline.hmget(f"{RQ_KEY_PREFIX}:job:{job_id}", ["place", "skipped"])
        pipeline.exists(COMMITTED)
        pipeline.hlen(INBOX)
        *places, committed, inbox = pipeline.execute()
    letters, kept = _letters(wanted), _kept(wanted)
    absent = Place.UNKNOWN if committed or inbox else Place.ENDED
    return {
        job_id: _whereabouts(job_id, place, letters=letters, kept=kept, absent=absent)
        for job_id, place in zip(wanted, places, strict=True)
    }


def _whereabouts(
    job_id: str, fields: Any, *, letters: Mapping[str, DeadLetter], kept: set[str], absent: Place
) -> Whereabouts:
    letter = letters.get(job_id)
    place, skipped = fields
    if skipped:
        return Whereabouts(place=Place.SKIPPED)
    if place in _in_redis:
        return Whereabouts(place=_in_redis[place], letter=letter.pk if letter else "")
    if letter:
        sent = letter.status == Status.SENT
        return Whereabouts(place=Place.SENT if sent else Place.DEAD, letter=letter.pk)
    return Whereabouts(place=Place.OUTBOX if job_id in kept else absent)


def _letters(job_ids: Sequence[str]) -> dict[str, DeadLetter]:
    """Return the last dead letter of each job."""
    return {
        letter.job_id: letter
        for chunk in _chunks(job_ids)
        for letter in DeadLetter.objects.filter(job_id__in=chunk).order_by("dead_lettered_at").only("job_id", "status")
    }


def _kept(job_ids: Sequence[str]) -> set[str]:
    return {
        job_id
        for chunk in _chunks(job_ids)
        for job_id in OutboxRow.objects.filter(job_id__in=chunk).values_list("job_id", flat=True)
    }


def _chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(job_ids), CHUNK):
        yield job_ids[start : start + CHUNK]
