"""An event bus for Django: topics are signals, subscribers run in workers, each on its own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emailqueue.events.email_subscribers import subscribe_email
    from emailqueue.events.event import Event
    from emailqueue.events.publishing import publish
    from emailqueue.events.stats import get_event_stats
    from emailqueue.events.subscribers import subscribe
    from emailqueue.events.topics import Topic

__all__ = ["Event", "Topic", "get_event_stats", "publish", "subscribe", "subscribe_email"]

_homes = {
    "Event": "event",
    "Topic": "topics",
    "get_event_stats": "stats",
    "publish": "publishing",
    "subscribe": "subscribers",
    "subscribe_email": "email_subscribers",
}


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562), so that models may import it before the apps are loaded.
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_homes[name]}"), name)
