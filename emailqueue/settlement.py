"""What is written about a job after an attempt: the one place that decides retry, hold or dead letter."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from emailqueue.conf import Settings
from emailqueue.jobs import Job, MalformedJob, timestamp
from emailqueue.outcome import Attempt, Failure, Kind, Outcome, shorten
from emailqueue.priority import EVENT_QUEUE
from emailqueue.store import Settlement

HELD = 1.0
"""Seconds that a mail waits when the mail server is away."""
MAX_CRASHES = 3
"""Workers that may die with a mail in their hands before it becomes a dead letter."""
MAX_EVENT_CRASHES = 10
"""The same for an event job. More, since a large audience takes long, and a deploy may meet it several times."""


_plain_verbs = {Kind.SENT: "sent", Kind.UNSENT: "head"}


def before_run(job: Job, settings: Settings, *, worker: str) -> Settlement | None:
    """Return the end of a job that must not be run again: too many crashes, or maybe sent already and to be held."""
    if job.crashes >= (MAX_EVENT_CRASHES if job.counted_in() == EVENT_QUEUE else MAX_CRASHES):
        error = f"{job.crashes} workers died while they had this job."
        return _dead(job, "crashed", Outcome(kind=Kind.PERMANENT, failure=_told("Crashed", error)), worker=worker)
    if job.ambiguous and settings.ambiguous == "hold":
        error = "The worker died after it had begun to send this mail. It may have been delivered."
        return _dead(job, "ambiguous", Outcome(kind=Kind.AMBIGUOUS, failure=_told("MaybeSent", error)), worker=worker)
    return None


def after_run(job: Job, outcome: Outcome, settings: Settings, *, worker: str, seconds: float) -> Settlement | None:
    """Return what to write about a job that has run; None when its lease is lost."""
    if outcome.kind is Kind.LOST:
        return None
    if outcome.kind in _plain_verbs:
        return Settlement(job=job, verb=_plain_verbs[outcome.kind], seconds=seconds, staged=outcome.staged)
    if outcome.kind is Kind.OUTAGE:
        return _held(job, outcome, worker=worker, seconds=seconds)
    final = outcome.kind in (Kind.PERMANENT, Kind.MALFORMED)
    if final or (outcome.kind is Kind.AMBIGUOUS and settings.ambiguous == "hold"):
        return _dead(job, outcome.kind.value, outcome, worker=worker, seconds=seconds)
    return _retry(job, outcome, worker=worker, seconds=seconds)


def _held(job: Job, outcome: Outcome, *, worker: str, seconds: float) -> Settlement:
    history = json.dumps(_extended(job, outcome, charged=False, worker=worker))
    return Settlement(job=job, verb="retry", due=HELD, charged=False, history=history, seconds=seconds)


def _retry(job: Job, outcome: Outcome, *, worker: str, seconds: float) -> Settlement:
    used = job.charged() + 1
    ambiguous = outcome.kind is Kind.AMBIGUOUS
    if used >= job.attempts():
        return _dead(job, "ambiguous" if ambiguous else "exhausted", outcome, worker=worker, seconds=seconds)
    return Settlement(
        job=job,
        verb="retry",
        due=job.backoff().wait(used),
        ambiguous=ambiguous and not job.ambiguous,
        history=json.dumps(_extended(job, outcome, charged=True, worker=worker)),
        seconds=seconds,
    )


def _dead(job: Job, reason: str, outcome: Outcome, *, worker: str, seconds: float = 0.0) -> Settlement:
    return Settlement(
        job=job,
        verb="dead",
        death=uuid.uuid4().hex,
        ambiguous=outcome.kind is Kind.AMBIGUOUS and not job.ambiguous,
        record=json.dumps(_record(job, reason, _extended(job, outcome, charged=True, worker=worker))),
        seconds=seconds,
    )


def _record(job: Job, reason: str, history: list[Attempt]) -> dict[str, Any]:
    try:
        function, arguments = job.call()
        raw = ""
    except MalformedJob:
        function, arguments, raw = "", None, shorten(job.data.decode("utf-8", "replace"))
    return {
        "job_id": job.id,
        "queue": job.queue,
        "label": job.label,
        "function": function,
        "arguments": arguments,
        "raw": raw,
        "attempts": job.attempts(),
        "backoff": job.backoff().as_json(),
        "reason": reason,
        "history": history,
        "created_at": job.created_at,
        "died_at": timestamp(),
        "letter": job.letter,
        "cause": job.cause,
    }


def _extended(job: Job, outcome: Outcome, *, charged: bool, worker: str) -> list[Attempt]:
    """Return the history with this attempt; one outage is one entry, however often the mail was held."""
    history = list(job.history)
    times = 1
    if not charged and history and not history[-1].get("charged", True):
        before = history.pop().get("times", 1)
        times += before if isinstance(before, int) else 1
    failure: Mapping[str, Any] = outcome.failure.as_json() if outcome.failure else {}
    entry = {"at": timestamp(), "kind": outcome.kind.value, "charged": charged, "times": times, "worker": worker}
    return [*history, {**entry, **failure}]


def _told(error_class: str, message: str) -> Failure:
    return Failure(error_class=error_class, message=message)
