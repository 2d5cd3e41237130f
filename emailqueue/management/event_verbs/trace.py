"""What became of an event, and where its mails are now."""

import json as json_module
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from emailqueue.events.places import Place
from emailqueue.events.recording import Result
from emailqueue.events.trail import Attempt, SubscriberTrail, Trail, TrailJob, read_trail

ARGUMENTS = {
    "id": {"help": "id of an event, of a mail that it led to, or of a dead letter"},
    "--json": {"action": "store_true", "help": "print one JSON value"},
}


def run(*, id: str, json: bool, **options: Any) -> str:  # noqa: A002  the argument's name
    trail = read_trail(id)
    return json_module.dumps(asdict(trail), default=datetime.isoformat) if json else "\n".join(_lines(trail))


def _lines(trail: Trail) -> Iterator[str]:
    yield f"{trail.topic} · event {trail.id} · published {trail.published_at:%Y-%m-%d %H:%M:%S %Z}"
    yield f"  payload {json_module.dumps(trail.payload, ensure_ascii=False)}"
    if trail.cause:
        yield f"  published by a subscriber of event {trail.cause}"
    if trail.job.place not in (Place.SENT, Place.ENDED):
        yield f"  the event itself: {_place(trail.job)}"
    for attempt in trail.attempts:
        if attempt.result is not Result.RAN:
            yield f"  {_attempt(attempt)}"
    if trail.attempts and not trail.subscribers:
        yield "  → nobody is subscribed"
    for subscriber in trail.subscribers:
        yield from _subscriber(subscriber)


def _subscriber(subscriber: SubscriberTrail) -> Iterator[str]:
    yield f"  → {subscriber.name}: {_place(subscriber.job)}"
    for attempt in subscriber.attempts:
        yield f"      {_attempt(attempt)}"
    for mail in subscriber.queued:
        yield f"      queued {mail.label}, {mail.queue} · {mail.id}: {_place(mail)}"
    if subscriber.unnamed:
        counts = ", ".join(f"{count} {label}" for label, count in subscriber.counts.items())
        yield f"      … {subscriber.unnamed} more, in all {counts}"


def _attempt(attempt: Attempt) -> str:
    retried = f", dead letter {attempt.dead_letter} retried" if attempt.dead_letter else ""
    reason = f": {attempt.reason}" if attempt.reason else ""
    return f"attempt {attempt.number} of {attempt.allowed}{retried} · {attempt.at:%H:%M:%S} {attempt.result}{reason}"


def _place(job: TrailJob) -> str:
    return f"{job.place_label}{f' {job.dead_letter}' if job.dead_letter else ''}"
