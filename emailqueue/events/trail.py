"""The trail of an event: which subscribers it had, what came of each, and where the mails are now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from django.utils.translation import gettext
from redis import Redis

from emailqueue.errors import UnknownEvent
from emailqueue.events.places import JobPlace, Place, find_event, find_places
from emailqueue.events.recording import DISPATCH, Result, summarize, trail_key
from emailqueue.events.subscribers import ARROW
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.redis.problems import asking_redis

Entry = Mapping[str, Any]
"""What record() has written about one attempt."""
StoredJob = Sequence[str]
"""Id, label and queue of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    number: int
    allowed: int
    """Attempts that it had in all."""

    at: datetime
    result: Result
    reason: str
    """Why it was skipped, or the error; empty when it ran."""

    dead_letter: str
    """Id of the dead letter that was retried; empty for what was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailJob:
    """A job that the event led to: a mail, another event, or one of its subscribers."""

    id: str
    label: str
    queue: str
    place: Place
    dead_letter: str
    """Id of its dead letter, if it has one."""

    @property
    def place_label(self) -> str:
        """Where it is, for people: only a mail is sent."""
        is_mail = self.queue != EVENT_QUEUE and ARROW not in self.label
        return gettext("finished") if self.place is Place.SENT and not is_mail else str(self.place.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberTrail:
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
    with asking_redis(effect="there is no trail") as connection:
        event, entries = _stored(given.strip(), connection)
        ids = [event["id"], *(entry["job"] for entry in entries)]
        ids += [job_id for entry in entries for job_id, _label, _queue in entry["queued"]]
        places = find_places(ids, connection=connection)
    return _trail(event, entries, places=places)


def _stored(given: str, connection: Redis) -> tuple[Mapping[str, Any], list[Entry]]:
    """Return the event that an id leads to, and the entries of its trail; none of an expired one."""
    stored: Any = connection.hgetall(trail_key(given))
    event, cause = ({}, "") if stored else find_event(given, connection=connection)
    event_id = event.get("id", cause)
    if event_id:
        stored = connection.hgetall(trail_key(event_id))
    if stored:
        event = json.loads(stored.pop(b"event"))
        return event, sorted(map(json.loads, stored.values()), key=itemgetter("at"))
    if not event_id:
        raise UnknownEvent(
            f"{given!r} leads to no event: it is unknown, older than EMAIL_QUEUE['EVENT_TRAIL'], or a mail that no "
            "event queued."
        )
    event = event or find_event(event_id, connection=connection)[0]
    if not event:
        raise UnknownEvent(
            f"{given!r} was queued by event {event_id}, whose trail is older than EMAIL_QUEUE['EVENT_TRAIL']."
        )
    return summarize(event, cause=cause if event["id"] == given else ""), []


def _trail(event: Mapping[str, Any], entries: Sequence[Entry], *, places: Mapping[str, JobPlace]) -> Trail:
    runs: dict[str, list[Entry]] = {}
    for entry in entries:
        runs.setdefault(entry["subscriber"], []).append(entry)
    dispatched = runs.pop(DISPATCH, [])
    job = _job((event["id"], event["topic"], EVENT_QUEUE), after=Place.SENT, places=places)
    label = f"{event['topic']}{ARROW}"
    jobs = {name.removeprefix(label): (job_id, name, queue) for job_id, name, queue in _last_run(dispatched)["queued"]}
    jobs |= {name: (run[-1]["job"], label + name, run[-1]["queue"]) for name, run in runs.items() if name not in jobs}
    return Trail(
        id=event["id"],
        topic=event["topic"],
        payload=event["payload"],
        published_at=datetime.fromisoformat(event["published_at"]),
        cause=event["cause"],
        job=job,
        attempts=_attempts(dispatched),
        subscribers=[
            _subscriber(name, stored, runs.get(name, []), after=job.place, places=places)
            for name, stored in jobs.items()
        ],
    )


def _subscriber(
    name: str, stored: StoredJob, entries: Sequence[Entry], *, after: Place, places: Mapping[str, JobPlace]
) -> SubscriberTrail:
    # What a worker has run was visible, whatever is known of the dispatch.
    job = _job(stored, after=Place.SENT if entries else after, places=places)
    last = _last_run(entries)
    return SubscriberTrail(
        name=name,
        job=job,
        attempts=_attempts(entries),
        counts=last["counts"],
        queued=[_job(queued, after=job.place, places=places) for queued in last["queued"]],
    )


def _job(stored: StoredJob, *, after: Place, places: Mapping[str, JobPlace]) -> TrailJob:
    """Return a job of which Redis may know nothing yet, unless the one that queued it has ended."""
    job_id, label, queue = stored
    found = places[job_id]
    unknown = found.place is Place.ENDED and after not in (Place.SENT, Place.ENDED)
    place = Place.UNKNOWN if unknown else found.place
    return TrailJob(id=job_id, label=label, queue=queue, place=place, dead_letter=found.dead_letter)


def _last_run(entries: Sequence[Entry]) -> Entry:
    ran = (entry for entry in reversed(entries) if entry["result"] == Result.RAN)
    return next(ran, {"queued": [], "counts": {}})


def _attempts(entries: Sequence[Entry]) -> list[Attempt]:
    names = ("number", "allowed", "reason", "dead_letter")
    return [
        Attempt(at=datetime.fromisoformat(entry["at"]), result=Result(entry["result"]), **{n: entry[n] for n in names})
        for entry in entries
    ]
