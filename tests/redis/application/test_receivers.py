"""Which mails the built-in topics lead to."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from emailqueue.enqueue.staging import Staging
from emailqueue.events import get_event_stats, publish
from emailqueue.events.dispatch import dispatch
from emailqueue.jobs.priority import EMAIL_QUEUES
from emailqueue.store import Store
from events import publish_event, topics
from tests.conftest import Work, claim_and_vanish, eventually
from tests.support.parcels import AUDIENCE, VOTE, waiting

pytestmark = pytest.mark.usefixtures("subscribers_as_before")


@pytest.mark.parametrize(
    ("topic", "payload", "email_type", "queue", "recipients", "context"),
    [
        (
            "vote.created",
            {"voter_email": "ada@example.com", "model_name": "Ada", "model_id": "a/b c"},
            "vote-confirmation",
            "normal",
            ["ada@example.com"],
            {"model_name": "Ada", "profile_url": "https://front.example/models/a%2Fb%20c"},
        ),
        (
            "vote.created",
            {**VOTE, "profile_url": "https://ada.example"},
            "vote-confirmation",
            "normal",
            ["ada@example.com"],
            {"model_name": "Ada", "profile_url": "https://ada.example"},
        ),
        (
            "model.progress_milestone",
            {
                "model_id": 7,
                "model_name": "Ada",
                "vote_count": 104,
                "milestone": 100,
                "subscriber_emails": [*AUDIENCE, AUDIENCE[0]],
            },
            "progress-update",
            "low",
            AUDIENCE,
            {
                "model_name": "Ada",
                "vote_count": 104,
                "milestone": 100,
                "profile_url": "https://front.example/models/7",
            },
        ),
        (
            "model.rank_changed",
            {
                "model_id": 7,
                "model_name": "Ada",
                "new_rank": 1,
                "old_rank": 2,
                "vote_count": 99,
                "supporter_emails": AUDIENCE[:2],
            },
            "rank-update",
            "critical",
            AUDIENCE[:2],
            {
                "model_name": "Ada",
                "rank_position": 1,
                "previous_rank": 2,
                "vote_count": 99,
                "profile_url": "https://front.example/models/7",
            },
        ),
        (
            "reward.earned",
            {"user_email": "ada@example.com", "reward_name": "Mug"},
            "reward-delivery",
            "high",
            ["ada@example.com"],
            {"reward_name": "Mug", "claim_url": "https://front.example/rewards"},
        ),
        (
            "reward.earned",
            {
                "user_email": "ada@example.com",
                "reward_name": "Mug",
                "reward_value": 9.5,
                "claim_url": "https://mugs.example/1",
            },
            "reward-delivery",
            "high",
            ["ada@example.com"],
            {"reward_name": "Mug", "reward_value": 9.5, "claim_url": "https://mugs.example/1"},
        ),
        (
            "user.registered",
            {"user_email": "ada@example.com", "user_name": "Ada"},
            "referral-join",
            "low",
            ["ada@example.com"],
            {"user_name": "Ada"},
        ),
        (
            "user.registered",
            {
                "user_email": "ada@example.com",
                "user_name": "Ada",
                "referrer_name": "Bob",
                "referral_code": "A&B 1",
            },
            "referral-join",
            "low",
            ["ada@example.com"],
            {
                "user_name": "Ada",
                "referrer_name": "Bob",
                "referral_url": "https://front.example/join?ref=A%26B%201",
            },
        ),
        (
            "referral.milestone",
            {"user_email": "ada@example.com", "user_name": "Ada", "referral_count": 10, "reward_name": "Mug"},
            "referral-milestone",
            "critical",
            ["ada@example.com"],
            {"user_name": "Ada", "referral_count": 10, "reward_name": "Mug"},
        ),
    ],
)
def test_a_built_in_topic_queues_its_mails(
    valkey: Redis,
    work: Work,
    *,
    topic: str,
    payload: dict[str, Any],
    email_type: str,
    queue: str,
    recipients: list[str],
    context: dict[str, Any],
) -> None:
    getattr(publish_event, topic.replace(".", "_"))(payload)

    work("events")

    mails = waiting(valkey, *EMAIL_QUEUES)
    assert {(mail.queue, mail.label) for mail in mails} == {(queue, email_type)}
    assert [mail.arguments["to"] for mail in mails] == recipients
    assert all(mail.arguments["context"] == context for mail in mails)


def test_an_event_for_nobody_queues_no_mail(valkey: Redis, work: Work) -> None:
    publish(
        "model.progress_milestone",
        {"model_id": 7, "model_name": "Ada", "vote_count": 1, "milestone": 1, "subscriber_emails": []},
    )

    work("events")

    assert waiting(valkey, *EMAIL_QUEUES) == []
    assert get_event_stats().completed == 2


def test_a_receiver_that_is_run_again_mails_once(valkey: Redis, work: Work) -> None:
    publish("vote.created", VOTE)
    [event] = claim_and_vanish(valkey, "events")
    first = Staging(event.id)
    with first.collecting():
        dispatch(event, None)  # type: ignore[arg-type] # sends no mail
    first.store(Store(valkey))  # and its worker dies before it is settled
    eventually(lambda: valkey.zcount("emailqueue:leases", 0, time.time()))

    work("events")

    [mail] = waiting(valkey, "normal")
    assert mail.arguments["to"] == "ada@example.com"
    assert len(first.jobs) == 1
    assert get_event_stats().completed == 2


def test_a_project_can_switch_a_built_in_mail_off(valkey: Redis, work: Work) -> None:
    topics.VOTE_CREATED.disconnect(dispatch_uid="events.receivers.confirm_vote")

    publish("vote.created", VOTE)
    work("events")

    assert waiting(valkey, *EMAIL_QUEUES) == []
