"""Which e-mails the built-in topics lead to."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from emailqueue.conf import get_settings
from emailqueue.events.email_subscriptions import queue_for_all
from emailqueue.events.event import Event
from events import topics
from events.emails import (
    PROGRESS_UPDATE,
    RANK_UPDATE,
    queue_referral_join,
    queue_referral_milestone,
    queue_reward_delivery,
    queue_vote_confirmation,
)


def confirm_vote(event: Event, **kwargs: object) -> None:
    """Thank the voter."""
    context = {
        "model_name": event.model_name,
        "profile_url": event.profile_url or _profile_url(event.model_id),
    }
    queue_vote_confirmation(event.voter_email, context)


def announce_progress(event: Event, **kwargs: object) -> None:
    """Tell the subscribers of a model about its milestone."""
    context = {
        "model_name": event.model_name,
        "vote_count": event.vote_count,
        "milestone": event.milestone,
        "profile_url": _profile_url(event.model_id),
    }
    queue_for_all(PROGRESS_UPDATE, event.subscriber_emails, context)


def announce_rank(event: Event, **kwargs: object) -> None:
    """Tell the supporters of a model about its new rank."""
    context = {
        "model_name": event.model_name,
        "rank_position": event.new_rank,
        "previous_rank": event.old_rank,
        "vote_count": event.vote_count,
        "profile_url": _profile_url(event.model_id),
    }
    queue_for_all(RANK_UPDATE, event.supporter_emails, context)


def deliver_reward(event: Event, **kwargs: object) -> None:
    """Send the user to the reward. Without a claim_url the e-mail type builds the link."""
    context = _chosen(event, "reward_name", "reward_value", "claim_url")
    queue_reward_delivery(event.user_email, context)


def welcome_user(event: Event, **kwargs: object) -> None:
    """Welcome the new user, with a link for inviting others when there is a code."""
    context = _chosen(event, "user_name", "referrer_name")
    if event.referral_code:
        code = quote(event.referral_code, safe="")
        context["referral_url"] = f"{get_settings().frontend_url}/join?ref={code}"
    queue_referral_join(event.user_email, context)


def celebrate_referrals(event: Event, **kwargs: object) -> None:
    """Congratulate the user whom so many followed."""
    context = _chosen(event, "user_name", "referral_count", "reward_name")
    queue_referral_milestone(event.user_email, context)


def connect_all() -> None:
    """Connect each receiver to its topic; topic.disconnect(receiver) in a later app's ready() undoes it."""
    topics.VOTE_CREATED.connect(confirm_vote)
    topics.MODEL_PROGRESS_MILESTONE.connect(announce_progress)
    topics.MODEL_RANK_CHANGED.connect(announce_rank)
    topics.REWARD_EARNED.connect(deliver_reward)
    topics.USER_REGISTERED.connect(welcome_user)
    topics.REFERRAL_MILESTONE.connect(celebrate_referrals)


def _profile_url(model_id: str | int) -> str:
    return f"{get_settings().frontend_url}/models/{quote(str(model_id), safe='')}"


def _chosen(event: Event, *names: str) -> dict[str, Any]:
    return {name: event.payload[name] for name in names if name in event.payload}
