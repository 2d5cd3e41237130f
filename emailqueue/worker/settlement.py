"""What is written about a job after an attempt. What each end means stands in jobs/ends.py; here is what needs more."""

import json
import uuid
from dataclasses import replace

from emailqueue.conf import Settings
from emailqueue.jobs.ends import End
from emailqueue.jobs.job import Job
from emailqueue.jobs.outcome import Failure, Outcome, PastAttempt
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.jobs.record import past_attempt, record_of
from emailqueue.store import Settlement

AWAY_WAIT = 10.0
"""Most seconds between two attempts while a part of ours is away: 1, 2, 4, … before. MAX_AGE ends this."""
MAX_CRASHES = 3
"""Workers that may die with a mail in their hands before it becomes a dead letter."""
MAX_EVENT_CRASHES = 10
"""The same for an event job. More, since a large audience takes long, and a deploy may meet it several times."""


def before_run(job: Job, settings: Settings, *, worker: str) -> Settlement | None:
    """
    Return the end of a job that must not be run: too many crashes, maybe sent already and to be held, or too old.

    Its age is that by the clock of Redis, so that a worker's wrong one does not matter.
    """
    is_event = job.counted_in() == EVENT_QUEUE
    if job.crashes >= (MAX_EVENT_CRASHES if is_event else MAX_CRASHES):
        failure = Failure(error_class="Crashed", message=f"{job.crashes} workers died while they had this job.")
        return _not_run(job, End.CRASHED, failure, worker=worker)
    if job.ambiguous and settings.ambiguous == "hold":
        text = "The worker died after it had begun to send this mail. It may have been sent."
        return _not_run(job, End.AMBIGUOUS, Failure(error_class="MaybeSent", message=text), worker=worker)
    if not is_event and job.waited() > settings.max_age:
        return _not_run(job, End.EXPIRED, _too_old(job, settings), worker=worker)
    return None


def _not_run(job: Job, end: End, failure: Failure, *, worker: str) -> Settlement:
    return _dead(Settlement(job=job, verb="dead"), _history(job, Outcome(end=end, failure=failure), worker=worker), end)


def _too_old(job: Job, settings: Settings) -> Failure:
    hours = job.waited() / 3600
    text = f"It waited {hours:.1f} hours since it was due. EMAIL_QUEUE['MAX_AGE'] allows {settings.max_age:g} s."
    return Failure(error_class="Expired", message=text + " An earlier attempt may have sent it." * job.ambiguous)


def after_run(job: Job, outcome: Outcome, settings: Settings, *, worker: str, seconds: float) -> Settlement | None:
    """Return what to write about a job that has run; None when its lease is lost."""
    if outcome.end is End.LOST:
        return None
    settlement = _settlement(job, outcome, settings, worker=worker, seconds=seconds)
    # What fails before contact has said nothing about itself yet. Later on, the server may just not bear this mail.
    if outcome.end is not End.WAIT or outcome.before_contact:
        return settlement
    to_blame = _settlement(job, replace(outcome, end=End.RETRY), settings, worker=worker, seconds=seconds)
    return replace(settlement, otherwise=replace(to_blame, reached=False))


def _settlement(job: Job, outcome: Outcome, settings: Settings, *, worker: str, seconds: float) -> Settlement:
    settlement = Settlement(
        job=job,
        verb=_verb(job, outcome.end, settings),
        seconds=seconds,
        staged=outcome.staged,
        skipped=outcome.end is End.SKIPPED,
        reached=_reached(job, outcome),
        ambiguous=outcome.end is End.AMBIGUOUS and not job.ambiguous,
        alert=outcome.about_account,
    )
    if settlement.verb in ("sent", "back"):
        return settlement
    history = _history(job, outcome, worker=worker)
    if settlement.verb == "dead":
        return _dead(settlement, history, outcome.end)
    return replace(settlement, due=_due(job, outcome.end, history), history=json.dumps(history))


def _verb(job: Job, end: End, settings: Settings) -> str:
    held = end is End.AMBIGUOUS and settings.ambiguous == "hold"
    used_up = end.meaning.verb == "retry" and job.charged() + 1 >= job.attempts
    return "dead" if held or used_up else end.meaning.verb


def _reached(job: Job, outcome: Outcome) -> bool:
    """Whether the attempt shows that the mail server takes mail: it answered RCPT or what comes after it."""
    if outcome.end is End.WAIT or job.counted_in() == EVENT_QUEUE:
        return False
    failure = outcome.failure
    if failure is None:
        return outcome.end is End.SENT
    return failure.phase in ("rcpt", "data", "body") and failure.smtp_code is not None


def _history(job: Job, outcome: Outcome, *, worker: str) -> list[PastAttempt]:
    """Return the history with this attempt; one outage is one entry, however often the mail waited in it."""
    end, earlier, times = outcome.end, list(job.history), 1
    if earlier and not end.meaning.charged and earlier[-1].get("kind") == end.value:
        before = earlier.pop().get("times", 1)
        times += before if isinstance(before, int) else 1
    return [*earlier, past_attempt(end, outcome.failure, worker=worker, times=times)]


def _due(job: Job, end: End, history: list[PastAttempt]) -> float:
    """Return the seconds until the next attempt; 0 where Redis finds the time for it."""
    if end is End.AWAY:
        doubled: float = 2.0 ** min(history[-1]["times"] - 1, 10)
        return min(doubled, AWAY_WAIT)
    return job.backoff.wait(job.charged() + 1) if end.meaning.verb == "retry" else 0.0


def _dead(settlement: Settlement, history: list[PastAttempt], end: End) -> Settlement:
    record = record_of(settlement.job, reason=end.meaning.reason, history=history)
    return replace(settlement, inbox_id=uuid.uuid4().hex, record=json.dumps(record))
