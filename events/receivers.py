"""Which e-mails the topics lead to."""

from typing import Any
from urllib.parse import quote

from emailqueue.conf import get_settings
from emailqueue.events import Event, subscribe, subscribe_email
from events import topics
from events.emails import (
    PROGRESS_UPDATE,
    RANK_UPDATE,
    REFERRAL_MILESTONE,
    REWARD_DELIVERY,
    queue_referral_join,
    queue_vote_confirmation,
)


@subscribe(topics.VOTE_CREATED)
def confirm_vote(event: Event) -> None:
    """Thank the voter."""
    context = {"model_name": event.model_name, "profile_url": event.profile_url or profile_url(event)}
    queue_vote_confirmation(event.voter_email, context)


@subscribe(topics.USER_REGISTERED)
def welcome_user(event: Event) -> None:
    """Welcome the new user, with a link for inviting others if there is a code."""
    context = {"user_name": event.user_name, "referrer_name": event.referrer_name}
    if event.referral_code:
        context["referral_url"] = f"{get_settings().frontend_url}/join?ref={quote(event.referral_code, safe='')}"
    queue_referral_join(event.user_email, context)


def progress(event: Event) -> dict[str, Any]:
    """Return the context of a progress-update."""
    return {
        "model_name": event.model_name,
        "vote_count": event.vote_count,
        "milestone": event.milestone,
        "profile_url": profile_url(event),
    }


def rank(event: Event) -> dict[str, Any]:
    """Return the context of a rank-update."""
    return {
        "model_name": event.model_name,
        "rank_position": event.new_rank,
        "previous_rank": event.old_rank,
        "vote_count": event.vote_count,
        "profile_url": profile_url(event),
    }


def profile_url(event: Event) -> str:
    """Return the address of the model's page."""
    return f"{get_settings().frontend_url}/models/{quote(str(event.model_id), safe='')}"


subscribe_email(topics.MODEL_PROGRESS_MILESTONE, PROGRESS_UPDATE, to="subscriber_emails", context=progress)
subscribe_email(topics.MODEL_RANK_CHANGED, RANK_UPDATE, to="supporter_emails", context=rank)
subscribe_email(topics.REWARD_EARNED, REWARD_DELIVERY, to="user_email")
subscribe_email(topics.REFERRAL_MILESTONE, REFERRAL_MILESTONE, to="user_email")
