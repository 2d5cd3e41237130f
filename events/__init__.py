"""The application that the example project runs: six topics, six e-mails, and what leads from one to the other."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events import topics
    from events.emails import (
        queue_progress_update,
        queue_rank_update,
        queue_referral_join,
        queue_referral_milestone,
        queue_reward_delivery,
        queue_vote_confirmation,
    )
    from events.publishing import publish_event

__all__ = [
    "publish_event",
    "queue_progress_update",
    "queue_rank_update",
    "queue_referral_join",
    "queue_referral_milestone",
    "queue_reward_delivery",
    "queue_vote_confirmation",
    "topics",
]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562), so that models may import events before the apps are loaded.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "topics":
        return import_module("events.topics")
    return getattr(import_module("events.publishing" if name == "publish_event" else "events.emails"), name)
