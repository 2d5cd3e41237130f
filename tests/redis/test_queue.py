from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, cast

import pytest
from django.test import override_settings
from django.utils import timezone
from redis import Redis

import emailqueue
from emailqueue import EmailType, cancel_email, queue_bulk_emails, queue_email, reschedule_email, schedule_email
from emailqueue.errors import (
    EmailQueueError,
    InvalidAddress,
    InvalidContext,
    InvalidTime,
    MissingContext,
    RedisUnavailable,
    TooManyRecipients,
    UnknownEmailType,
)
from emailqueue.redis import rq_queues
from events import (
    queue_progress_update,
    queue_rank_update,
    queue_referral_join,
    queue_referral_milestone,
    queue_reward_delivery,
    queue_vote_confirmation,
)
from events.emails import VOTE_CONFIRMATION

pytestmark = pytest.mark.oldest

ADA, BOB = "ada@example.com", "bob@example.com"
LINK = "https://front.example/models/1"
VOTE = {"model_name": "Ada", "profile_url": LINK}
PROGRESS = {"model_name": "Ada", "vote_count": 100, "milestone": 100}
RANK = {"model_name": "Ada", "rank_position": 1, "previous_rank": 2, "vote_count": 100}


def waiting(valkey: Redis, queue: str = "normal") -> list[str]:
    return [job_id.decode() for job_id in cast(list[bytes], valkey.lrange(f"rq:queue:{queue}", 0, -1))]


def due(valkey: Redis, job_id: str, queue: str = "normal") -> float:
    """Return in how many seconds the job is due."""
    score = valkey.zscore(f"rq:scheduled:{queue}", job_id)
    assert score is not None
    return score - time.time()


@pytest.mark.parametrize(
    ("function", "context", "queue"),
    [
        (queue_vote_confirmation, VOTE, "normal"),
        (queue_progress_update, PROGRESS, "low"),
        (queue_rank_update, RANK, "critical"),
        (queue_reward_delivery, {"reward_name": "Badge"}, "high"),
        (queue_referral_join, {"user_name": "Ada"}, "low"),
        (queue_referral_milestone, {"user_name": "Ada", "referral_count": 5}, "critical"),
    ],
)
def test_each_type_has_a_function_and_lands_on_the_queue_of_its_priority(
    valkey: Redis, function: Callable[..., str], context: dict[str, Any], queue: str
) -> None:
    job_id = function(ADA, context)
    urgent = function(ADA, context, priority="critical")

    assert len(job_id) == 32
    assert waiting(valkey, queue)[0] == job_id
    assert urgent in waiting(valkey, "critical")


def test_a_type_queues_itself(valkey: Redis) -> None:
    one = VOTE_CONFIRMATION.queue(ADA, VOTE)
    two = VOTE_CONFIRMATION.queue_bulk([ADA, (BOB, {"model_name": "Bob"})], VOTE, priority="high")
    later = VOTE_CONFIRMATION.schedule(ADA, VOTE, timezone.now() + timedelta(hours=1), priority="low")

    assert waiting(valkey) == [one]
    assert waiting(valkey, "high") == two
    assert 3599 < due(valkey, later, "low") <= 3600


def test_a_type_that_is_not_registered_queues_nothing() -> None:
    unknown = EmailType(name="unknown", template="unknown.html")

    with pytest.raises(UnknownEmailType, match=r"'unknown' is not an e-mail type\. .* or register\(\) it\."):
        unknown.queue(ADA, {})


def test_a_mail_may_be_delayed(valkey: Redis) -> None:
    job_id = queue_email("vote-confirmation", ADA, VOTE, delay=timedelta(minutes=1))

    assert waiting(valkey) == []
    assert 59 < due(valkey, job_id) <= 60


def test_a_mail_may_be_scheduled(valkey: Redis) -> None:
    job_id = schedule_email("vote-confirmation", ADA, VOTE, timezone.now() + timedelta(hours=1), priority="low")

    assert 3599 < due(valkey, job_id, "low") <= 3600


def test_a_time_in_the_past_means_now(valkey: Redis) -> None:
    job_id = schedule_email("vote-confirmation", ADA, VOTE, timezone.now() - timedelta(days=1))

    assert waiting(valkey) == [job_id]


def test_a_naive_time_is_refused(valkey: Redis) -> None:
    tomorrow = datetime.now() + timedelta(days=1)  # noqa: DTZ005 - naive on purpose

    with pytest.raises(InvalidTime, match="no time zone"):
        schedule_email("vote-confirmation", ADA, VOTE, tomorrow)
    with pytest.raises(InvalidTime, match="no time zone"):
        reschedule_email("ab12", tomorrow)

    assert valkey.keys() == []


def test_two_calls_with_one_key_queue_one_mail(valkey: Redis) -> None:
    ids = [queue_email("vote-confirmation", ADA, VOTE, idempotency_key="vote-7") for _ in range(2)]

    assert ids[0] == ids[1]
    assert waiting(valkey) == ids[:1]


def test_a_bulk_call_queues_one_mail_for_each_recipient_in_order(valkey: Redis) -> None:
    ids = queue_bulk_emails("progress-update", [ADA, (BOB, {"milestone": 200})], PROGRESS)

    assert waiting(valkey, "low") == ids
    jobs = [cast(bytes, valkey.hget(f"rq:job:{job_id}", "data")).decode() for job_id in ids]
    assert [ADA in jobs[0], '"milestone": 100' in jobs[0]] == [True, True]
    assert [BOB in jobs[1], '"milestone": 200' in jobs[1]] == [True, True]


def test_a_bulk_call_without_recipients_queues_nothing(valkey: Redis) -> None:
    ids = queue_bulk_emails("progress-update", [], PROGRESS)

    assert ids == []
    assert valkey.keys() == []


def test_a_bulk_call_takes_the_options_of_a_single_one(valkey: Redis) -> None:
    ids = queue_bulk_emails("progress-update", iter([ADA, BOB]), PROGRESS, priority=2, delay=60, attempts=1)

    assert [59 < due(valkey, job_id, "high") <= 60 for job_id in ids] == [True, True]


def test_two_bulk_calls_with_one_key_queue_once(valkey: Redis) -> None:
    calls = [queue_bulk_emails("progress-update", [ADA, BOB, ADA], PROGRESS, idempotency_key="k") for _ in range(2)]

    assert calls[0] == calls[1] == waiting(valkey, "low")
    assert len(set(calls[0])) == 3


@pytest.mark.parametrize(
    ("recipients", "context", "error"),
    [
        ([ADA, "bob"], PROGRESS, InvalidAddress),
        ([ADA, "bob@example.com\nBcc: eve@example.com"], PROGRESS, InvalidAddress),
        ([ADA, (BOB, {"milestone": None})], PROGRESS, MissingContext),
        ([ADA, (BOB, {"votes": 1})], PROGRESS, InvalidContext),
        (repeat(ADA), PROGRESS, TooManyRecipients),
    ],
)
def test_one_wrong_recipient_stops_a_bulk_call_before_anything_is_queued(
    valkey: Redis, recipients: Any, context: dict[str, Any], error: type[EmailQueueError]
) -> None:
    with pytest.raises(error):
        queue_bulk_emails("progress-update", recipients, context)

    assert valkey.keys() == []


def test_an_unknown_type_is_refused_whatever_the_call(valkey: Redis) -> None:
    with pytest.raises(UnknownEmailType):
        queue_email("vote", ADA, VOTE)
    with pytest.raises(UnknownEmailType):
        queue_bulk_emails("vote", [], VOTE)

    assert valkey.keys() == []


@pytest.mark.parametrize("delay", [None, 60])
def test_a_mail_is_cancelled_once(valkey: Redis, delay: float | None) -> None:
    job_id = queue_email("vote-confirmation", ADA, VOTE, delay=delay)

    cancelled = [cancel_email(job_id), cancel_email(job_id)]

    assert cancelled == [True, False]
    assert waiting(valkey) == []


def test_a_cancelled_mail_may_be_queued_again_under_its_key(valkey: Redis) -> None:
    cancel_email(queue_email("vote-confirmation", ADA, VOTE, idempotency_key="k"))

    again = queue_email("vote-confirmation", ADA, VOTE, idempotency_key="k")

    assert waiting(valkey) == [again]


def test_a_mail_is_moved_to_another_time(valkey: Redis) -> None:
    job_id = queue_email("vote-confirmation", ADA, VOTE)

    moved = reschedule_email(job_id, timezone.now() + timedelta(minutes=1))

    assert moved
    assert waiting(valkey) == []
    assert 59 < due(valkey, job_id) <= 60
    assert not reschedule_email("unknown", timezone.now())


def test_what_acts_at_once_says_so_when_redis_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"redis://127.0.0.1:{server.getsockname()[1]}"

    with override_settings(RQ_QUEUES=rq_queues(dead)):
        with pytest.raises(RedisUnavailable, match="'ab12' may not be cancelled"):
            cancel_email("ab12")
        with pytest.raises(RedisUnavailable, match="'ab12' may not be moved"):
            reschedule_email("ab12", timezone.now())


def test_the_package_hands_out_its_names_and_no_others() -> None:
    names = {name: getattr(emailqueue, name) for name in emailqueue.__all__}

    assert all(names.values())
    with pytest.raises(AttributeError, match="no attribute 'queue_mail'"):
        emailqueue.queue_mail  # noqa: B018
