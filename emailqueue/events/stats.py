"""The figures of the event bus."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from emailqueue.events.subscribers import ARROW, subscribers_of
from emailqueue.events.topics import all_topics
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.redis.problems import asking_redis
from emailqueue.store import Counts, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberStats:
    run: int
    """Events that it took in."""

    skipped: int
    """Events that its filter did not want."""

    failed: int
    """Events for which it became a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicStats:
    published: int
    subscribers: Mapping[str, SubscriberStats]
    """By name: those that are connected, and those that have run before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStats:
    """
    What get_event_stats() returns: figures of the queue "events".

    Its jobs are the events themselves and one job for each subscriber of each event, so that an event with
    two subscribers counts three times in the end. Events alone are counted per topic.
    """

    waiting: int
    """Jobs that wait for a worker, now."""

    active: int
    """Jobs that a worker has, now."""

    delayed: int
    """Jobs that wait to be tried again, now."""

    completed: int
    """Jobs that ended well since counting began."""

    failed: int
    """Jobs that became dead letters since counting began."""

    topics: Mapping[str, TopicStats]
    """By name: those that are defined, and those that were published before."""


def get_event_stats() -> EventStats:
    """Return the figures of the event bus: one round trip to Redis. Raises RedisUnavailable."""
    with asking_redis(effect="there are no figures") as connection:
        counts = Store(connection).counts()
    return event_stats_of(counts)


def event_stats_of(counts: Counts) -> EventStats:
    events = counts.of(EVENT_QUEUE)
    names = ("waiting", "active", "delayed", "completed", "failed")
    return EventStats(**{name: getattr(events, name) for name in names}, topics=_per_topic(counts))


def _per_topic(counts: Counts) -> dict[str, TopicStats]:
    names: defaultdict[str, dict[str, None]] = defaultdict(dict)  # a dict keeps the order, a set does not
    for topic in all_topics().values():
        names[topic.name] = dict.fromkeys(subscribers_of(topic))
    for counter in counts.counters:
        topic_name, arrow, subscriber = counter.partition("=")[2].partition(ARROW)
        if arrow:
            names[topic_name][subscriber] = None
    return {
        topic_name: TopicStats(
            published=counts.counters.get(f"queued={topic_name}", 0),
            subscribers={name: _subscriber_stats(counts, f"{topic_name}{ARROW}{name}") for name in subscribers},
        )
        for topic_name, subscribers in names.items()
    }


def _subscriber_stats(counts: Counts, label: str) -> SubscriberStats:
    names = ("completed", "skipped", "failed")
    completed, skipped, failed = (counts.counters.get(f"{name}={label}", 0) for name in names)
    return SubscriberStats(run=max(0, completed - skipped), skipped=skipped, failed=failed)
