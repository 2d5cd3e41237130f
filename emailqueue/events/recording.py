"""How the trail of an event is written: one entry, and one round trip, for each attempt of each subscriber."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _
from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.events.event import Event
from emailqueue.jobs.job import Job, NewJob
from emailqueue.redis import connect
from emailqueue.store import COUNTERS, scripts

logger = logging.getLogger(__name__)

SHOWN_JOBS = 300
"""Queued mails that an entry names; the others are only counted."""
SHOWN_ITEMS = 20
"""Items of a list in a payload that the trail shows."""
SHOWN_TEXT = 1000
"""Characters of an error or of a reason that the trail shows."""

DISPATCH = ""
"""In the place of a subscriber: the job that queues one job for each of them."""


class Result(models.TextChoices):
    RAN = "ran", _("ran")
    SKIPPED = "skipped", _("skipped")
    FAILED = "failed", _("failed")


def trail_key(event_id: str) -> str:
    """Return the key of the trail of an event: a hash of `event` and of one field for each attempt."""
    return f"events:trail:{event_id}"


def record(
    event: Event, subscriber: str, job: Job, *, result: Result, reason: str = "", queued: Sequence[NewJob] = ()
) -> None:
    """
    Write down what came of an attempt, and count it when it was skipped.

    It never fails the subscriber: while Redis does not answer, nothing is written.
    """
    number = job.charged() + 1
    entry = {
        "subscriber": subscriber,
        "job": job.id,
        "queue": job.queue,
        "number": number,
        "allowed": job.attempts,
        "dead_letter": job.dead_letter,
        "at": datetime.now(UTC).isoformat(),
        "result": result,
        "reason": reason[:SHOWN_TEXT],
        "counts": dict(Counter(new.label for new in queued)),
        "queued": [(new.id, new.label, new.queue) for new in queued[:SHOWN_JOBS]],
    }
    # The attempts of a redriven dead letter are counted from one again.
    name = json.dumps([subscriber, job.dead_letter, number])
    counter = f"skipped={job.label}" if result is Result.SKIPPED else ""
    lives = get_settings().event_trail
    if not lives and not counter:
        return
    try:
        summary = json.dumps(summarize(event.as_json(), cause="" if job.cause == event.id else job.cause))
        entry_json = json.dumps(entry)
        scripts.run(connect(), "record", trail_key(event.id), lives, summary, name, entry_json, COUNTERS, counter)
    except (RedisError, RedisUnavailable, OSError) as error:
        logger.warning("trail not written", extra={"event": event.id, "error_class": type(error).__name__})


def describe_error(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def summarize(event: Mapping[str, Any], *, cause: str) -> dict[str, Any]:
    """
    Return an event as the trail shows it: of a long list the beginning, and how many more there were.

    `cause`: id of the event, or the job, in which this one was published.
    """
    payload = {
        name: [*value[:SHOWN_ITEMS], f"… {len(value) - SHOWN_ITEMS} more"]
        if isinstance(value, list) and len(value) > SHOWN_ITEMS
        else value
        for name, value in event["payload"].items()
    }
    return {**event, "payload": payload, "cause": cause}
