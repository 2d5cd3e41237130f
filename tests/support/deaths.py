"""What a worker writes down of a mail that is given up."""

from __future__ import annotations

import json
from typing import Any

from redis import Redis

from emailqueue.housekeeping.inbox import move_inbox
from emailqueue.jobs.functions import DELIVER
from emailqueue.models import DeadLetter
from emailqueue.store import INBOX

DEATH = "d" * 32
VOTE = {"model_name": "GPT", "profile_url": "https://front.example/models/7"}


def attempt(**changes: Any) -> dict[str, Any]:
    return {
        "at": "2026-05-04T10:00:02.500000Z",
        "kind": "retry",
        "charged": True,
        "times": 1,
        "worker": "worker-1",
        "error_class": "emailqueue.delivery.smtp.Refused",
        "message": "450 try later",
        "phase": "rcpt",
        "smtp_code": 450,
        "smtp_reply": "try later",
        "traceback": "Traceback (most recent call last): …",
        **changes,
    }


def record(**changes: Any) -> dict[str, Any]:
    return {
        "job_id": "a" * 32,
        "queue": "normal",
        "label": "vote-confirmation",
        "function": DELIVER,
        "arguments": {"email_type": "vote-confirmation", "to": "ada@example.com", "context": VOTE},
        "raw": "",
        "attempts": 3,
        "backoff": {"type": "fixed", "delay": 0.5, "jitter": 0.0, "max_delay": 60.0},
        "reason": "exhausted",
        "history": [attempt(), attempt(kind="permanent", smtp_code=550, smtp_reply="no such mailbox")],
        "created_at": "2026-05-04T10:00:00.000000Z",
        "dead_lettered_at": "2026-05-04T10:00:05.000000Z",
        "dead_letter": "",
        **changes,
    }


def die(valkey: Redis, death: str = DEATH, **changes: Any) -> None:
    valkey.hset(INBOX, death, json.dumps(record(**changes)))


def letter_of(valkey: Redis, **changes: Any) -> DeadLetter:
    die(valkey, **changes)
    move_inbox(valkey)
    return DeadLetter.objects.get(pk=DEATH)


def jobs_in(valkey: Redis, queue: str = "normal") -> list[str]:
    ids: Any = valkey.lrange(f"rq:queue:{queue}", 0, -1)
    return [job_id.decode() for job_id in ids]


def job_hash(valkey: Redis, job_id: str) -> dict[str, str]:
    fields: Any = valkey.hgetall(f"rq:job:{job_id}")
    return {name.decode(): value.decode() for name, value in fields.items()}
