"""publish() with one method for each of the topics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from emailqueue.events import Topic, publish
from emailqueue.events.topics import all_topics
from events import topics
from events.payloads import (
    ModelProgressMilestone,
    ModelRankChanged,
    ReferralMilestone,
    RewardEarned,
    UserRegistered,
    VoteCreated,
)

Fields = Mapping[str, object]


class PublishEvent:
    """
    publish() with one method for each topic. `payload` is a mapping, or the dataclass named.

    Those of a project's own topics are found when they are called, "order.shipped" as order_shipped.
    """

    def vote_created(
        self, payload: VoteCreated | Fields, *, idempotency_key: str | None = None, using: str | None = None
    ) -> str:
        """Publish vote.created: voter_email, model_name, model_id, profile_url?."""
        return publish(topics.VOTE_CREATED, payload, idempotency_key=idempotency_key, using=using)

    def model_progress_milestone(
        self,
        payload: ModelProgressMilestone | Fields,
        *,
        idempotency_key: str | None = None,
        using: str | None = None,
    ) -> str:
        """Publish model.progress_milestone: model_id, model_name, vote_count, milestone, subscriber_emails."""
        return publish(topics.MODEL_PROGRESS_MILESTONE, payload, idempotency_key=idempotency_key, using=using)

    def model_rank_changed(
        self, payload: ModelRankChanged | Fields, *, idempotency_key: str | None = None, using: str | None = None
    ) -> str:
        """Publish model.rank_changed: model_id, model_name, new_rank, old_rank, vote_count, supporter_emails."""
        return publish(topics.MODEL_RANK_CHANGED, payload, idempotency_key=idempotency_key, using=using)

    def reward_earned(
        self, payload: RewardEarned | Fields, *, idempotency_key: str | None = None, using: str | None = None
    ) -> str:
        """Publish reward.earned: user_email, reward_name, reward_value?, claim_url?."""
        return publish(topics.REWARD_EARNED, payload, idempotency_key=idempotency_key, using=using)

    def user_registered(
        self, payload: UserRegistered | Fields, *, idempotency_key: str | None = None, using: str | None = None
    ) -> str:
        """Publish user.registered: user_email, user_name, referrer_name?, referral_code?."""
        return publish(topics.USER_REGISTERED, payload, idempotency_key=idempotency_key, using=using)

    def referral_milestone(
        self, payload: ReferralMilestone | Fields, *, idempotency_key: str | None = None, using: str | None = None
    ) -> str:
        """Publish referral.milestone: user_email, user_name, referral_count, reward_name?."""
        return publish(topics.REFERRAL_MILESTONE, payload, idempotency_key=idempotency_key, using=using)

    if not TYPE_CHECKING:  # to a type checker, a misspelt method shall not exist

        def __getattr__(self, name: str) -> Callable[..., str]:
            if topic := _by_method().get(name):
                return partial(publish, topic)
            raise AttributeError(f"publish_event has no {name!r}. It has {', '.join(_by_method())}.")

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *_by_method()]


publish_event = PublishEvent()


def _by_method() -> dict[str, Topic]:
    return {re.sub(r"\W", "_", name): topic for name, topic in all_topics().items()}
