"""Which e-mails there are: six types, and a function that queues each."""

from __future__ import annotations

from typing import Unpack

from emailqueue import EmailType, Priority, queue_email, register
from emailqueue.email_types import Url
from emailqueue.enqueue.call import PerCall
from emailqueue.schema.shape import Context

VOTE_CONFIRMATION = register(
    EmailType(
        name="vote-confirmation",
        template="events/vote-confirmation.html",
        priority=Priority.NORMAL,
        needed={"model_name": str, "profile_url": Url},
        optional={"model_id": (str, int)},
        defaults={"profile_url": "{frontend_url}/models/{model_id}"},
        sample={"model_name": "Aurora", "profile_url": "https://example.com/models/7"},
    )
)
PROGRESS_UPDATE = register(
    EmailType(
        name="progress-update",
        template="events/progress-update.html",
        priority=Priority.LOW,
        needed={"model_name": str, "vote_count": int, "milestone": (int, str)},
        optional={"profile_url": Url},
        sample={
            "model_name": "Aurora",
            "vote_count": 1003,
            "milestone": 1000,
            "profile_url": "https://example.com/models/7",
        },
    )
)
RANK_UPDATE = register(
    EmailType(
        name="rank-update",
        template="events/rank-update.html",
        priority=Priority.CRITICAL,
        needed={"model_name": str, "rank_position": int, "previous_rank": int, "vote_count": int},
        optional={"profile_url": Url},
        sample={"model_name": "Aurora", "rank_position": 3, "previous_rank": 7, "vote_count": 1003},
    )
)
REWARD_DELIVERY = register(
    EmailType(
        name="reward-delivery",
        template="events/reward-delivery.html",
        priority=Priority.HIGH,
        needed={"reward_name": str, "claim_url": Url},
        optional={"reward_value": (str, float)},
        defaults={"claim_url": "{frontend_url}/rewards"},
        sample={
            "reward_name": "Early supporter badge",
            "reward_value": "€25",
            "claim_url": "https://example.com/rewards",
        },
    )
)
REFERRAL_JOIN = register(
    EmailType(
        name="referral-join",
        template="events/referral-join.html",
        priority=Priority.LOW,
        needed={"user_name": str},
        optional={"referrer_name": str, "referral_url": Url},
        sample={"user_name": "Ada", "referrer_name": "Grace", "referral_url": "https://example.com/join?ref=ADA"},
    )
)
REFERRAL_MILESTONE = register(
    EmailType(
        name="referral-milestone",
        template="events/referral-milestone.html",
        priority=Priority.CRITICAL,
        needed={"user_name": str, "referral_count": int},
        optional={"reward_name": str},
        sample={"user_name": "Ada", "referral_count": 5, "reward_name": "Gold badge"},
    )
)


def queue_vote_confirmation(to: str, context: Context, *, using: str | None = None, **options: Unpack[PerCall]) -> str:
    """Queue a vote-confirmation: model_name, profile_url (or model_id, from which the link is built)."""
    return queue_email(VOTE_CONFIRMATION, to, context, using=using, **options)


def queue_progress_update(to: str, context: Context, *, using: str | None = None, **options: Unpack[PerCall]) -> str:
    """Queue a progress-update: model_name, vote_count, milestone, profile_url?."""
    return queue_email(PROGRESS_UPDATE, to, context, using=using, **options)


def queue_rank_update(to: str, context: Context, *, using: str | None = None, **options: Unpack[PerCall]) -> str:
    """Queue a rank-update: model_name, rank_position, previous_rank, vote_count, profile_url?."""
    return queue_email(RANK_UPDATE, to, context, using=using, **options)


def queue_reward_delivery(to: str, context: Context, *, using: str | None = None, **options: Unpack[PerCall]) -> str:
    """Queue a reward-delivery: reward_name, reward_value?, claim_url (default FRONTEND_URL/rewards)."""
    return queue_email(REWARD_DELIVERY, to, context, using=using, **options)


def queue_referral_join(to: str, context: Context, *, using: str | None = None, **options: Unpack[PerCall]) -> str:
    """Queue a referral-join: user_name, referrer_name?, referral_url?."""
    return queue_email(REFERRAL_JOIN, to, context, using=using, **options)


def queue_referral_milestone(to: str, context: Context, *, using: str | None = None, **options: Unpack[PerCall]) -> str:
    """Queue a referral-milestone: user_name, referral_count, reward_name?."""
    return queue_email(REFERRAL_MILESTONE, to, context, using=using, **options)
