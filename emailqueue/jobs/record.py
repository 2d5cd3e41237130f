"""How a job that is given up is written down, for housekeeping to make a dead letter of it."""

from collections.abc import Sequence
from typing import Any

from emailqueue.jobs.ends import End, Reason
from emailqueue.jobs.job import Job, timestamp
from emailqueue.jobs.outcome import Failure, PastAttempt, shorten


def record_of(
    job: Job, *, reason: Reason, history: Sequence[PastAttempt], dead_lettered_at: str = ""
) -> dict[str, Any]:
    """Return what is put into the inbox of housekeeping, which reads it in housekeeping/rows.py."""
    return {
        "function": job.call.function,
        "arguments": job.call.arguments,
        "raw": shorten(job.call.raw),
        "job_id": job.id,
        "queue": job.queue,
        "label": job.label,
        "attempts": job.attempts,
        "backoff": job.backoff.as_json(),
        "reason": reason.value,
        "history": history,
        "created_at": job.created_at,
        "dead_lettered_at": dead_lettered_at or timestamp(),
        "dead_letter": job.dead_letter,
        "cause": job.cause,
    }


def past_attempt(end: End, failure: Failure | None, *, worker: str, at: str = "", times: int = 1) -> PastAttempt:
    """Return one entry of a job's history."""
    return {
        "at": at or timestamp(),
        "kind": end.value,
        "charged": end.meaning.charged,
        "times": times,
        "worker": worker,
        **(failure.as_json() if failure else {}),
    }
