"""publish() with a method for each topic."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from emailqueue.events import Topic, publish
from emailqueue.events.topics import all_topics
from events import payloads

P_contra = TypeVar("P_contra", contravariant=True)


class Publish(Protocol[P_contra]):
    """Publish one topic: `payload` is its dataclass, or a mapping of the same fields. Returns the event id."""

    def __call__(
        self, payload: P_contra | Mapping[str, object], *, idempotency_key: str | None = None, using: str | None = None
    ) -> str: ...


class PublishEvent:
    """publish() with a method for each topic: "order.shipped", defined anywhere, is order_shipped()."""

    vote_created: Publish[payloads.VoteCreated]
    model_progress_milestone: Publish[payloads.ModelProgressMilestone]
    model_rank_changed: Publish[payloads.ModelRankChanged]
    reward_earned: Publish[payloads.RewardEarned]
    user_registered: Publish[payloads.UserRegistered]
    referral_milestone: Publish[payloads.ReferralMilestone]

    if not TYPE_CHECKING:  # a type checker knows the methods above, and finds a misspelt one

        def __getattr__(self, name: str) -> Callable[..., str]:
            if topic := _by_method().get(name):
                return partial(publish, topic)
            raise AttributeError(f"publish_event has no {name!r}. It has {', '.join(_by_method())}.")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_by_method()]


publish_event = PublishEvent()


def _by_method() -> dict[str, Topic]:
    return {name.replace(".", "_").replace("-", "_"): topic for name, topic in all_topics().items()}
