"""The trail of an event: who was told of it, what came of that, and where the mails are now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from redis import Redis, RedisError

from emailqueue.events.errors import UnknownEvent
from emailqueue.events.finding import find_job
from emailqueue.events.recording import DISPATCH, Result, shortened, trail_key
from emailqueue.events.subscribers import ARROW
from emailqueue.events.whereabouts import Place, Whereabouts, whereabouts
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.redis import connect
from emailqueue.redis.problems import unavailable

Entry = Mapping[str, Any]
"""What record() has written about one attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of calling a subscriber once."""

    number: int
    allowed: int
    """Attempts that it had in all."""

    at: datetime
    result: Result
    reason: str
    """Why it was skipped, or the error; empty when it ran."""

    letter: str
    """Id of the dead letter that was retried; empty for what was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailJob:
    """A job that the event led to: a mail, another event, or one of its subscribers."""

    id: str
    label: str
    queue: str
    place: Place
    letter: str
    """Id of its dead letter, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberTrail:
    """What one subscriber did about the event."""

    name: str
    job: TrailJob
    attempts: Sequence[Attempt]
    """Empty while it waits for its first."""

    counts: Mapping[str, int]
    """How many mails it queued, by e-mail type."""

    queued: Sequence[TrailJob]
    """These mails, of many the first ones."""

    @property
    def unnamed(self) -> int:
        """How many mails it queued beyond those that are named."""
        return sum(self.counts.values()) - len(self.queued)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What is known of one event."""

    id: str
    topic: str
    payload: Mapping[str, Any]
    """Of long lists the beginning."""

    published_at: datetime
    cause: str
    """Id of the event whose subscriber published this one; empty elsewhere."""

    job: TrailJob
    """The job that queues one for each subscriber."""

    attempts: Sequence[Attempt]
    """Its attempts; empty while the event waits for a worker."""

    subscribers: Sequence[SubscriberTrail]


def read_trail(given: str) -> Trail:
    """
    Return the trail of an event, found by its id or by that of a mail, a subscriber's job or a dead letter.

    Raises UnknownEvent for an id that leads to none, or to one whose trail has expired, and RedisUnavailable.
    """
    connection = connect()
    try:
        return _read(given.strip(), connection)
    except (RedisError, OSError) as error:
        raise unavailable(error, effect="there is no trail") from error


def _read(given: str, connection: Redis) -> Trail:
    stored: Any = connection.hgetall(trail_key(given))
    if stored:
        return _Reading(given, stored, connection=connection).trail()
    found = find_job(given, connection=connection)
    if not found or not found.event_id:
        raise UnknownEvent(
            f"{given!r} leads to no event: it is unknown, older than EMAIL_QUEUE['EVENT_TRAIL'], or a mail that no "
            "event queued."
        )
    event_id = found.event_id
    stored = connection.hgetall(trail_key(event_id)) if event_id != given else {}
    event = found.event or ((find_job(event_id, connection=connection) or found).event if not stored else {})
    if not stored and not event:
        raise UnknownEvent(
            f"{given!r} was queued by event {event_id}, whose trail is older than EMAIL_QUEUE['EVENT_TRAIL']."
        )
    if b"event" not in stored:
        summary = {**event, "payload": shortened(event["payload"]), "cause": found.cause if event_id == given else ""}
        stored = {**stored, b"event": json.dumps(summary).encode()}
    return _Reading(event_id, stored, connection=connection).trail()


@dataclass(slots=True)
class _Reading:
    """One trail while it is put together."""

    event_id: str
    stored: Mapping[bytes, bytes]
    connection: Redis = field(kw_only=True)
    _places: dict[str, Whereabouts] = field(default_factory=dict)

    def trail(self) -> Trail:
        event = json.loads(self.stored[b"event"])
        entries = [json.loads(entry) for name, entry in self.stored.items() if name != b"event"]
        dispatched = [entry for entry in entries if entry["subscriber"] == DISPATCH]
        told = [entry for entry in entries if entry["subscriber"] != DISPATCH]
        ids = [self.event_id, *(entry["job"] for entry in told)]
        ids += [job_id for entry in entries for job_id, _label, _queue in entry["queued"]]
        self._places = whereabouts(ids, connection=self.connection)
        job = self._job([self.event_id, event["topic"], EVENT_QUEUE], after=Place.SENT)
        return Trail(
            id=self.event_id,
            topic=event["topic"],
            payload=event["payload"],
            published_at=datetime.fromisoformat(event["published_at"]),
            cause=event["cause"],
            job=job,
            attempts=_attempts(dispatched),
            subscribers=list(self._subscribers(dispatched, told, label=f"{event['topic']}{ARROW}", after=job.place)),
        )

    def _subscribers(
        self, dispatched: Sequence[Entry], told: Sequence[Entry], *, label: str, after: Place
    ) -> Iterator[SubscriberTrail]:
        jobs = {
            name.removeprefix(label): (job_id, name, queue) for job_id, name, queue in _last_run(dispatched)["queued"]
        }
        jobs |= {
            entry["subscriber"]: (entry["job"], label + entry["subscriber"], entry["queue"])
            for entry in told
            if entry["subscriber"] not in jobs
        }
        for name, stored in jobs.items():
            entries = [entry for entry in told if entry["subscriber"] == name]
            # What a worker has run was visible, whatever is known of the dispatch.
            job = self._job(stored, after=Place.SENT if entries else after)
            last = _last_run(entries)
            yield SubscriberTrail(
                name=name,
                job=job,
                attempts=_attempts(entries),
                counts=last["counts"],
                queued=[self._job(queued, after=job.place) for queued in last["queued"]],
            )

    def _job(self, stored: Sequence[str], *, after: Place) -> TrailJob:
        """Return a job of which Redis may know nothing yet, unless the one that queued it is done."""
        job_id, label, queue = stored
        found = self._places[job_id]
        place = found.place
        if place is Place.ENDED and after not in (Place.SENT, Place.ENDED):
            place = Place.UNKNOWN
        return TrailJob(id=job_id, label=label, queue=queue, place=place, letter=found.letter)


def _last_run(entries: Sequence[Entry]) -> Entry:
    ran = (entry for entry in reversed(entries) if entry["result"] == Result.RAN)
    return next(ran, {"queued": [], "counts": {}})


def _attempts(entries: Sequence[Entry]) -> list[Attempt]:
    names = ("number", "allowed", "reason", "letter")
    attempts = [
        Attempt(
            at=datetime.fromisoformat(entry["at"]),
            result=Result(entry["result"]),
            **{name: entry[name] for name in names},
        )
        for entry in entries
    ]
    return sorted(attempts, key=lambda attempt: attempt.at)
