"""Which topics and subscribers there are, with their options and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.events.stats import EventStats, SubscriberStats, get_event_stats
from emailqueue.events.subscriptions import Subscription, subscribers_of
from emailqueue.events.topics import Receiver, Topic, all_topics
from emailqueue.jobs.priority import EVENT_QUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSubscriber:
    """One subscriber of one topic."""

    name: str
    filter: str
    """Which events it wants, in words; empty for all."""

    attempts: int
    queue: str
    figures: SubscriberStats | None
    """None while Redis does not answer, and for one that has never run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTopic:
    """One topic."""

    name: str
    fields: Mapping[str, str]
    """What each field of the payload must be, in words; those that may be absent end in a question mark."""

    published: int | None
    """None while Redis does not answer."""

    subscribers: Sequence[ListedSubscriber]


def catalogue() -> list[ListedTopic]:
    """Return all topics that are defined; without figures while Redis does not answer."""
    try:
        stats = get_event_stats()
    except RedisUnavailable:
        stats = None
    return [_listed(topic, stats) for topic in all_topics().values()]


def _listed(topic: Topic, stats: EventStats | None) -> ListedTopic:
    figures = stats.topics.get(topic.name) if stats else None
    per_subscriber = figures.subscribers if figures else {}
    needed = topic.schema.needed
    return ListedTopic(
        name=topic.name,
        fields={name if name in needed else f"{name}?": kind.words for name, kind in topic.schema.types.items()},
        published=figures.published if figures else None,
        subscribers=[
            _subscriber(name, receiver, per_subscriber.get(name)) for name, receiver in subscribers_of(topic).items()
        ],
    )


def _subscriber(name: str, receiver: Receiver, figures: SubscriberStats | None) -> ListedSubscriber:
    subscription = receiver if isinstance(receiver, Subscription) else None
    return ListedSubscriber(
        name=name,
        filter=str(subscription.filter) if subscription and subscription.filter else "",
        attempts=(subscription and subscription.attempts) or get_settings().attempts,
        queue=subscription.queue if subscription else EVENT_QUEUE,
        figures=figures,
    )
