"""Rows of the outbox, and what Redis believes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone
from redis import Redis

from emailqueue.models import OutboxRow
from emailqueue.store import SINCE
from events import queue_vote_confirmation

VOTE = {"model_name": "Ada", "profile_url": "https://front.example/models/1"}


def remember_from(valkey: Redis, seconds_ago: float) -> None:
    """Have Redis believe that it has looked at the outbox for so long."""
    seconds, microseconds = valkey.time()
    valkey.set(SINCE, seconds + microseconds / 1e6 - seconds_ago)


def age(seconds: float) -> None:
    """Have all rows written so long ago."""
    OutboxRow.objects.update(created_at=timezone.now() - timedelta(seconds=seconds))


def queue_vote(**options: Any) -> str:
    return queue_vote_confirmation("ada@example.com", VOTE, **options)


def rows() -> list[str]:
    return list(OutboxRow.objects.order_by("pk").values_list("job_id", flat=True))


def waiting(valkey: Redis) -> list[str]:
    ids: Any = valkey.lrange("rq:queue:normal", 0, -1)
    return [job_id.decode() for job_id in ids]


def is_ambiguous(valkey: Redis, job_id: str) -> bool:
    return bool(valkey.hexists(f"rq:job:{job_id}", "ambiguous"))
