"""How the command `events` shows topics, trails and simulations to people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from emailqueue.events.catalogue import ListedSubscriber, ListedTopic
from emailqueue.events.recording import Result
from emailqueue.events.simulation import SimulatedJob, SimulatedRun
from emailqueue.events.trail import Attempt, SubscriberTrail, Trail, TrailJob
from emailqueue.events.whereabouts import Place

REAL = (
    "Nothing was queued, and databases were rolled back. What else the subscribers did, such as calling another "
    "service, was real."
)


def catalogue_lines(topics: Sequence[ListedTopic]) -> Iterator[str]:
    """Show which topics and subscribers there are."""
    for topic in topics:
        published = "" if topic.published is None else f" · {topic.published} published"
        yield f"{topic.name}{published}"
        for name, words in topic.fields.items():
            yield f"    {name}: {words}"
        for subscriber in topic.subscribers:
            yield f"  → {subscriber.name}{_subscriber(subscriber)}"
        if not topic.subscribers:
            yield "  → nobody"


def trail_lines(trail: Trail) -> Iterator[str]:
    """Show what is known of one event."""
    yield f"{trail.topic} · event {trail.id} · published {trail.published_at:%Y-%m-%d %H:%M:%S %Z}"
    yield f"  payload {json.dumps(trail.payload, ensure_ascii=False)}"
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
        yield from _told(subscriber)


def simulation_lines(runs: Sequence[SimulatedRun]) -> Iterator[str]:
    """Show what publishing would do."""
    for run in runs:
        yield f"{run.topic} → {run.subscriber}: {run.result}{f': {run.reason}' if run.reason else ''}"
        for job in run.queued:
            yield f"    {_job(job)}"
    if not runs:
        yield "Nobody is subscribed."


def _subscriber(subscriber: ListedSubscriber) -> str:
    parts = [f"when {subscriber.filter}"] if subscriber.filter else []
    parts += [f"{subscriber.attempts} attempts", f"queue {subscriber.queue}"]
    if figures := subscriber.figures:
        parts += [f"run {figures.run}", f"skipped {figures.skipped}", f"failed {figures.failed}"]
    return "".join(f" · {part}" for part in parts)


def _told(subscriber: SubscriberTrail) -> Iterator[str]:
    yield f"  → {subscriber.name}: {_place(subscriber.job)}"
    for attempt in subscriber.attempts:
        yield f"      {_attempt(attempt)}"
    for mail in subscriber.queued:
        yield f"      queued {mail.label}, {mail.queue} · {mail.id}: {_place(mail)}"
    if subscriber.unnamed:
        counts = ", ".join(f"{count} {label}" for label, count in subscriber.counts.items())
        yield f"      … {subscriber.unnamed} more, in all {counts}"


def _attempt(attempt: Attempt) -> str:
    retried = f", dead letter {attempt.letter} retried" if attempt.letter else ""
    reason = f": {attempt.reason}" if attempt.reason else ""
    return f"attempt {attempt.number} of {attempt.allowed}{retried} · {attempt.at:%H:%M:%S} {attempt.result}{reason}"


def _place(job: TrailJob) -> str:
    return f"{job.place.label}{f' {job.letter}' if job.letter else ''}"


def _job(job: SimulatedJob) -> str:
    due = f" · due {job.due}" if job.due else ""
    return f"{job.type} · {job.to or 'event'} · {job.queue}{due} · {json.dumps(job.context, ensure_ascii=False)}"
