"""Six topics, six e-mails, and which topic leads to which e-mail."""

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
    # Lazy (PEP 562), so that models may import this package before the apps are loaded.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = {"publish_event": "publishing", "topics": "topics"}.get(name, "emails")
    module = import_module(f"{__name__}.{home}")
    return module if name == home else getattr(module, name)
