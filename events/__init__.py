"""An event bus for Django: topics are signals, subscribers run in workers, each on its own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events import topics
    from events.emails import subscribe_email
    from events.event import Event
    from events.publishing import publish, publish_event
    from events.stats import get_event_stats
    from events.subscriptions import subscribe
    from events.topics import Topic

__all__ = ["Event", "Topic", "get_event_stats", "publish", "publish_event", "subscribe", "subscribe_email", "topics"]

_homes = {
    "Event": "events.event",
    "Topic": "events.topics",
    "get_event_stats": "events.stats",
    "publish": "events.publishing",
    "publish_event": "events.publishing",
    "subscribe": "events.subscriptions",
    "subscribe_email": "events.emails",
}


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562), so that models may import events before the apps are loaded.
    if name == "topics":
        return import_module("events.topics")
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_homes[name]), name)
