"""Topics with their fields, subscribers, filters and figures."""

import json as json_module
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.events.stats import SubscriberStats, TopicStats, get_event_stats
from emailqueue.events.subscribers import Subscriber, subscribers_of
from emailqueue.events.topics import Topic, all_topics

ARGUMENTS = {"--json": {"action": "store_true", "help": "print one JSON value"}}


def run(*, json: bool, **options: Any) -> str:
    """Return all topics that are defined; without figures while Redis does not answer."""
    try:
        figures = get_event_stats().topics
    except RedisUnavailable:
        figures = {}
    topics = [_topic(topic, figures.get(name)) for name, topic in all_topics().items()]
    if json:
        return json_module.dumps(topics)
    return "\n".join(line for topic in topics for line in _lines(topic)) or "No topic is defined."


def _topic(topic: Topic, figures: TopicStats | None) -> dict[str, Any]:
    fields = topic.schema.fields
    known = figures.subscribers if figures else {}
    return {
        "name": topic.name,
        "fields": {name if name in fields.needed else f"{name}?": kind.must_be for name, kind in fields.types.items()},
        "published": figures.published if figures else None,
        "subscribers": [_subscriber(each, known.get(name)) for name, each in subscribers_of(topic).items()],
    }


def _subscriber(subscriber: Subscriber, figures: SubscriberStats | None) -> dict[str, Any]:
    return {
        "name": subscriber.name,
        "filter": str(subscriber.filter or ""),
        "attempts": subscriber.attempts or get_settings().attempts,
        "queue": subscriber.queue,
        "figures": asdict(figures) if figures else None,
    }


def _lines(topic: Mapping[str, Any]) -> Iterator[str]:
    yield topic["name"] + ("" if topic["published"] is None else f" · {topic['published']} published")
    for name, must_be in topic["fields"].items():
        yield f"    {name}: {must_be}"
    for subscriber in topic["subscribers"]:
        parts = [subscriber["name"]]
        parts += [f"when {subscriber['filter']}"] if subscriber["filter"] else []
        parts += [f"{subscriber['attempts']} attempts", f"queue {subscriber['queue']}"]
        parts += [f"{name} {figure}" for name, figure in (subscriber["figures"] or {}).items()]
        yield f"  → {' · '.join(parts)}"
    if not topic["subscribers"]:
        yield "  → nobody"
