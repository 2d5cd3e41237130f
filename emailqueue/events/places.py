"""What is known of a job by its id: where it is now, and which event led to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from redis import Redis
from rq.defaults import RQ_KEY_PREFIX

from emailqueue.jobs.job import Call
from emailqueue.models import DeadLetter, OutboxRow, Status
from emailqueue.store import COMMITTED, INBOX

CHUNK = 500


class Place(models.TextChoices):
    WAITING = "waiting", _("waiting")
    SCHEDULED = "scheduled", _("scheduled, or waiting for a retry")
    WORKER = "worker", _("with a worker")
    SENT = "sent", _("sent")
    SKIPPED = "skipped", _("skipped, since the recipient gets no such mails")
    DEAD = "dead letter", _("dead letter")
    OUTBOX = "outbox", _("waiting in the outbox")
    ENDED = "ended", _("ended some minutes ago or more")
    UNKNOWN = "unknown", _("unknown")


_in_redis = {b"queue": Place.WAITING, b"scheduled": Place.SCHEDULED, b"lease": Place.WORKER, b"sent": Place.SENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlace:
    place: Place
    dead_letter: str = ""
    """Id of its dead letter, if it has one."""


def find_places(job_ids: Iterable[str], *, connection: Redis) -> dict[str, JobPlace]:
    """
    Return where each of some jobs is: one round trip to Redis, two queries for each 500 of them.

    Redis forgets a job some minutes after its end. One that it does not hold, and that is no dead letter, has
    ended: the caller has to know that it was ever queued. While dead letters or queued mails are on their way,
    that is not certain. Raises redis.RedisError.
    """
    wanted = list(dict.fromkeys(job_ids))
    with connection.pipeline(transaction=False) as pipeline:
        for job_id in wanted:
            pipeline.hmget(f"{RQ_KEY_PREFIX}:job:{job_id}", ["place", "skipped"])
        pipeline.exists(COMMITTED)
        pipeline.hlen(INBOX)
        *stored, committed, inbox = pipeline.execute()
    # The last dead letter of each job stays.
    letters = _rows(DeadLetter.objects.order_by("dead_lettered_at").only("job_id", "status"), wanted)
    dead_letters = {letter.job_id: letter for letter in letters}
    kept = {row.job_id for row in _rows(OutboxRow.objects.only("job_id"), wanted)}
    absent = Place.UNKNOWN if committed or inbox else Place.ENDED
    return {
        job_id: _place(fields, dead_letters.get(job_id), absent=Place.OUTBOX if job_id in kept else absent)
        for job_id, fields in zip(wanted, stored, strict=True)
    }


def find_event(given: str, *, connection: Redis) -> tuple[Mapping[str, Any], str]:
    """
    Return the event that the job, or the dead letter, of that id carries, and the id of what led to the job.

    The event is as Event.as_json() has written it. Either is empty where there is none. Raises redis.RedisError.
    """
    data, cause = cast("list[Any]", connection.hmget(f"{RQ_KEY_PREFIX}:job:{given}", ["data", "cause"]))
    if data is not None:
        return _event_in(Call.read(data).arguments), (cause or b"").decode()
    found = DeadLetter.objects.filter(Q(job_id=given) | Q(pk=given))
    if dead_letter := found.order_by("-dead_lettered_at").first():
        return _event_in(dead_letter.arguments), dead_letter.cause
    row = OutboxRow.objects.filter(job_id=given).first()
    return (_event_in(row.job["arguments"]), row.job["cause"]) if row else ({}, "")


def _place(fields: Any, dead_letter: DeadLetter | None, *, absent: Place) -> JobPlace:
    place, skipped = fields
    if skipped:
        return JobPlace(place=Place.SKIPPED)
    if place in _in_redis:
        return JobPlace(place=_in_redis[place], dead_letter=dead_letter.pk if dead_letter else "")
    if dead_letter:
        ended = Place.SENT if dead_letter.status == Status.SENT else Place.DEAD
        return JobPlace(place=ended, dead_letter=dead_letter.pk)
    return JobPlace(place=absent)


def _rows(rows: Any, job_ids: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(job_ids), CHUNK):
        yield from rows.filter(job_id__in=job_ids[start : start + CHUNK])


def _event_in(arguments: Any) -> Mapping[str, Any]:
    event = arguments.get("event") if isinstance(arguments, dict) else None
    return event if isinstance(event, dict) else {}
