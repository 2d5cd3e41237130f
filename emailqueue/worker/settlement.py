"""What is written about a job after an attempt: the one place that decides retry, hold or dead letter."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from emailqueue.conf import Settings
from emailqueue.jobs.job import Job, MalformedJob, timestamp
from emailqueue.jobs.outcome import Attempt, Failure, Kind, Outcome, shorten
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.store import Settlement

ACCOUNT_REFUSED = (530, 534, 535, 538)
"""Replies about our account (RFC 4954, section 6)."""
LOGIN_RULES = ("our-login", "api-login")
"""Rules of verdict_table.py that say the same without such a code."""
NOT_REACHED = ("no-name", "no-tls", "not-configured", "not-reached")
"""Rules about a server, SMTP or API, that was never spoken to."""
AWAY_WAIT = 10.0
"""Most seconds until a mail is tried again for which a part of ours was away: 1, 2, 4, … before. MAX_AGE ends this."""
MAX_CRASHES = 3
"""Workers that may die with a mail in their hands before it becomes a dead letter."""
MAX_EVENT_CRASHES = 10
"""The same for an event job. More, since a large audience takes long, and a deploy may meet it several times."""


_plain_verbs = {Kind.SENT: "sent", Kind.SKIPPED: "sent", Kind.UNSENT: "back"}


def before_run(job: Job, settings: Settings, *, worker: str) -> Settlement | None:
    """
    Return the end of a job that must not be run: too many crashes, maybe sent already and to be held, or too old.

    Its age is that by the clock of Redis, so that a worker's wrong one does not matter.
    """
    if job.crashes and job.crashes >= (MAX_EVENT_CRASHES if job.counted_in() == EVENT_QUEUE else MAX_CRASHES):
        error = f"{job.crashes} workers died while they had this job."
        return _dead(job, "crashed", Outcome(kind=Kind.PERMANENT, failure=_told("Crashed", error)), worker=worker)
    if job.ambiguous and settings.ambiguous == "hold":
        error = "The worker died after it had begun to send this mail. It may have been delivered."
        return _dead(job, "ambiguous", Outcome(kind=Kind.AMBIGUOUS, failure=_told("MaybeSent", error)), worker=worker)
    if job.counted_in() != EVENT_QUEUE and job.waited() > settings.max_age:
        return _expired(job, settings, worker=worker)
    return None


def _expired(job: Job, settings: Settings, *, worker: str) -> Settlement:
    hours = job.waited() / 3600
    error = f"It waited {hours:.1f} hours since it was due. EMAIL_QUEUE['MAX_AGE'] allows {settings.max_age:g} s."
    if job.ambiguous:
        error += " An earlier try may have delivered it."
    return _dead(job, "expired", Outcome(kind=Kind.UNSENT, failure=_told("Expired", error)), worker=worker)


def after_run(job: Job, outcome: Outcome, settings: Settings, *, worker: str, seconds: float) -> Settlement | None:
    """Return what to write about a job that has run; None when its lease is lost."""
    if outcome.kind is Kind.LOST:
        return None
    settlement = _judged(job, outcome, settings, worker=worker, seconds=seconds)
    return replace(settlement, reached=True) if _reached(job, outcome) else settlement


def _judged(job: Job, outcome: Outcome, settings: Settings, *, worker: str, seconds: float) -> Settlement:
    if outcome.kind in _plain_verbs:
        verb, skipped = _plain_verbs[outcome.kind], outcome.kind is Kind.SKIPPED
        return Settlement(job=job, verb=verb, seconds=seconds, staged=outcome.staged, skipped=skipped)
    if outcome.kind is Kind.OUTAGE:
        return _held(job, outcome, worker=worker, seconds=seconds)
    if outcome.kind is Kind.SLOWED:
        history = json.dumps(_extended(job, outcome, charged=False, worker=worker))
        return Settlement(job=job, verb="throttle", history=history, seconds=seconds)
    if outcome.kind is Kind.AWAY:
        entries = _extended(job, outcome, charged=False, worker=worker)
        due = min(2.0 ** (entries[-1]["times"] - 1), AWAY_WAIT)
        return Settlement(job=job, verb="wait", due=due, history=json.dumps(entries), seconds=seconds)
    final = outcome.kind in (Kind.PERMANENT, Kind.MALFORMED)
    if final or (outcome.kind is Kind.AMBIGUOUS and settings.ambiguous == "hold"):
        return _dead(job, outcome.kind.value, outcome, worker=worker, seconds=seconds)
    return _retry(job, outcome, worker=worker, seconds=seconds)


def _reached(job: Job, outcome: Outcome) -> bool:
    """Whether the attempt shows that the mail server takes mail: it answered RCPT or what comes after it."""
    if outcome.kind is Kind.OUTAGE or job.counted_in() == EVENT_QUEUE:
        return False
    failure = outcome.failure
    if failure is None:
        return outcome.kind is Kind.SENT
    return failure.phase in ("rcpt", "data", "body") and failure.smtp_code is not None


def _held(job: Job, outcome: Outcome, *, worker: str, seconds: float) -> Settlement:
    failure = outcome.failure
    # What fails to connect has said nothing about itself yet. Later on, the server may just not bear this mail.
    before_it = failure is None or failure.phase == "connect" or failure.rule in NOT_REACHED
    return Settlement(
        job=job,
        verb="wait",
        history=json.dumps(_extended(job, outcome, charged=False, worker=worker)),
        alert=failure is not None and (failure.smtp_code in ACCOUNT_REFUSED or failure.rule in LOGIN_RULES),
        otherwise=None if before_it else _retry(job, outcome, worker=worker, seconds=seconds),
        seconds=seconds,
    )


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
    charged = outcome.kind is not Kind.UNSENT
    return Settlement(
        job=job,
        verb="dead",
        death=uuid.uuid4().hex,
        ambiguous=outcome.kind is Kind.AMBIGUOUS and not job.ambiguous,
        record=json.dumps(_record(job, reason, _extended(job, outcome, charged=charged, worker=worker))),
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
        "dead_lettered_at": timestamp(),
        "letter": job.letter,
        "cause": job.cause,
    }


def _extended(job: Job, outcome: Outcome, *, charged: bool, worker: str) -> list[Attempt]:
    """Return the history with this attempt; one outage is one entry, however often the mail was held."""
    history = list(job.history)
    times = 1
    last = history[-1] if history else {}
    if not charged and not last.get("charged", True) and last.get("kind") == outcome.kind.value:
        before = history.pop().get("times", 1)
        times += before if isinstance(before, int) else 1
    failure: Mapping[str, Any] = outcome.failure.as_json() if outcome.failure else {}
    entry = {"at": timestamp(), "kind": outcome.kind.value, "charged": charged, "times": times, "worker": worker}
    return [*history, {**entry, **failure}]


def _told(error_class: str, message: str) -> Failure:
    return Failure(error_class=error_class, message=message)
