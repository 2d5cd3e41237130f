"""Which event an id leads to: that of an event, of a mail that it queued, or of a dead letter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from redis import Redis
from rq.defaults import RQ_KEY_PREFIX

from emailqueue.jobs.job import Job, MalformedJob
from emailqueue.models import DeadLetter, OutboxRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of a job: the event that it carries, or what led to it."""

    event: Mapping[str, Any] = field(default_factory=dict)
    """As Event.as_json() has written it; empty for a mail."""

    cause: str = ""

    @property
    def event_id(self) -> str:
        """Id of the event that the job belongs to; empty for a mail that no event has led to."""
        return str(self.event.get("id", self.cause))


def find_job(given: str, *, connection: Redis) -> Found | None:
    """Return what is known of the job, or the dead letter, of that id. Raises redis.RedisError."""
    return _in_redis(given, connection) or _dead(given) or _kept(given)


def _in_redis(given: str, connection: Redis) -> Found | None:
    stored: Any = connection.hmget(f"{RQ_KEY_PREFIX}:job:{given}", ["data", "cause"])
    data, cause = stored
    if data is None:
        return None
    try:
        arguments = Job(id=given, queue="", token="", data=data).arguments()
    except MalformedJob:
        arguments = {}
    return _found(arguments, (cause or b"").decode())


def _dead(given: str) -> Found | None:
    letter = DeadLetter.objects.filter(Q(job_id=given) | Q(pk=given)).order_by("-dead_lettered_at").first()
    return _found(letter.arguments, letter.cause) if letter else None


def _kept(given: str) -> Found | None:
    row = OutboxRow.objects.filter(job_id=given).first()
    return _found(row.job["arguments"], row.job["cause"]) if row else None


def _found(arguments: Any, cause: str) -> Found:
    event = arguments.get("event") if isinstance(arguments, dict) else None
    return Found(event=event if isinstance(event, dict) else {}, cause=cause)
