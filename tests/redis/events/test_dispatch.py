"""Events on a real Valkey and a worker: publish, dispatch, subscribers, the built-in receivers, figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest
from django.db import transaction
from pytest_django import Settings
from redis import Redis

from emailqueue import Backoff, get_queue_stats
from emailqueue.enqueue.staging import Staging
from emailqueue.errors import InvalidIdempotencyKey, RedisUnavailable
from emailqueue.events import Event, Topic, get_event_stats, publish, subscribe
from emailqueue.events.dispatch import dispatch
from emailqueue.events.errors import InvalidPayload, InvalidSubscriber
from emailqueue.events.stats import SubscriberStats
from emailqueue.events.subscriptions import subscribers_of
from emailqueue.events.trail import read_trail
from emailqueue.jobs.job import Job
from emailqueue.jobs.priority import EMAIL_QUEUES
from emailqueue.models import DeadLetter
from emailqueue.redis import rq_queues
from emailqueue.store import Store
from events import publish_event, topics
from tests.conftest import Work, claim_and_vanish, eventually

VOTE = {"voter_email": "ada@example.com", "model_name": "Ada", "model_id": 7}
AUDIENCE = [f"fan{number}@example.com" for number in range(30)]
AT_ONCE = Backoff(type="fixed", delay=0)


@dataclass(frozen=True, kw_only=True)
class ParcelSent:
    parcel: int


PARCEL_SENT = Topic("parcel.sent", payload=ParcelSent)
calls: list[str] = []


def stumble(event: Event) -> NoReturn:
    calls.append("stumble")
    raise ConnectionError("the warehouse is away")


def rejoice(event: Event) -> None:
    calls.append("rejoice")


async def rejoice_later(event: Event) -> None:
    calls.append("rejoice later")


def receive(sender: type, event: Event, **kwargs: object) -> None:
    calls.append(f"receive {event.parcel}")


@pytest.fixture(autouse=True)
def _subscribers_as_before() -> Iterator[None]:
    votes = list(topics.VOTE_CREATED.receivers)
    yield
    calls.clear()
    PARCEL_SENT.receivers.clear()
    topics.VOTE_CREATED.receivers[:] = votes


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job that waits in a queue."""

    queue: str
    label: str
    arguments: dict[str, Any]


def waiting(valkey: Redis, *queues: str) -> list[Waiting]:
    jobs = []
    for queue in queues:
        ids: list[Any] = valkey.lrange(f"rq:queue:{queue}", 0, -1)
        for job_id in ids:
            stored: dict[Any, Any] = valkey.hgetall(f"rq:job:{job_id.decode()}")
            arguments = json.loads(stored[b"data"])[3]
            jobs.append(Waiting(queue=queue, label=stored[b"description"].decode(), arguments=arguments))
    return jobs


def run_dispatch(event_id: str, valkey: Redis) -> None:
    data = valkey.hget(f"rq:job:{event_id}", "data")
    assert data is not None
    dispatch(Job(id=event_id, queue="events", token="1", data=data), None)  # type: ignore[arg-type] # sends no mail


def test_an_event_is_one_job_whatever_its_audience(valkey: Redis) -> None:
    event_id = publish_event.model_progress_milestone(
        {
            "model_id": 7,
            "model_name": "Ada",
            "vote_count": 100,
            "milestone": 100,
            "subscriber_emails": AUDIENCE,
        }
    )

    [job] = waiting(valkey, "events", *EMAIL_QUEUES)

    assert len(event_id) == 32
    assert (job.queue, job.label, job.arguments["event"]["id"]) == (
        "events",
        "model.progress_milestone",
        event_id,
    )


def test_an_invalid_payload_publishes_nothing(valkey: Redis) -> None:
    with pytest.raises(InvalidPayload):
        publish("vote.created", {**VOTE, "model_name": None})

    assert waiting(valkey, "events") == []


@pytest.mark.django_db(transaction=True)
def test_an_event_appears_with_the_commit(valkey: Redis) -> None:
    with transaction.atomic():
        publish("vote.created", VOTE)
        before = waiting(valkey, "events")

    after = waiting(valkey, "events")

    assert (before, len(after)) == ([], 1)


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_event_never_happened(valkey: Redis) -> None:
    with transaction.atomic():
        publish("vote.created", VOTE, idempotency_key="vote 7")
        transaction.set_rollback(True)
    rolled_back = waiting(valkey, "events")

    publish("vote.created", VOTE, idempotency_key="vote 7")

    assert (rolled_back, len(waiting(valkey, "events"))) == ([], 1)


def test_the_same_key_is_the_same_event(valkey: Redis) -> None:
    first = publish("vote.created", VOTE, idempotency_key="vote 7")

    again = publish("vote.created", VOTE, idempotency_key="vote 7")
    elsewhere = publish("parcel.sent", {"parcel": 7}, idempotency_key="vote 7")

    assert first == again != elsewhere
    assert [job.label for job in waiting(valkey, "events")] == ["vote.created", "parcel.sent"]


@pytest.mark.parametrize("key", ["", "x" * 501, 7])
def test_a_senseless_key_is_refused(valkey: Redis, key: Any) -> None:
    with pytest.raises(InvalidIdempotencyKey):
        publish("vote.created", VOTE, idempotency_key=key)

    assert waiting(valkey, "events") == []


def test_every_subscriber_is_called_once(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT)(rejoice)
    subscribe(PARCEL_SENT)(rejoice_later)
    PARCEL_SENT.connect(receive)

    publish(PARCEL_SENT, ParcelSent(parcel=7))
    work("events")

    assert sorted(calls) == ["receive 7", "rejoice", "rejoice later"]


def test_an_event_that_is_dispatched_again_adds_no_subscriber_twice(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT)(rejoice)
    event_id = publish(PARCEL_SENT, {"parcel": 7})
    run_dispatch(event_id, valkey)

    work("events")
    run_dispatch(event_id, valkey)
    work("events")

    assert calls == ["rejoice"]


def test_a_failing_subscriber_is_tried_again_and_dies_alone(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT, attempts=2, backoff=AT_ONCE)(stumble)
    subscribe(PARCEL_SENT)(rejoice)

    publish(PARCEL_SENT, {"parcel": 7})
    work("events", seconds=5)

    letter = DeadLetter.objects.get()
    assert sorted(calls) == ["rejoice", "stumble", "stumble"]
    assert letter.label == f"parcel.sent → {__name__}.stumble"
    assert [attempt.message for attempt in letter.attempts.all()] == ["the warehouse is away"] * 2


def test_a_subscriber_that_was_removed_meanwhile_is_a_dead_letter_at_once(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT)(rejoice)
    run_dispatch(publish(PARCEL_SENT, {"parcel": 7}), valkey)
    PARCEL_SENT.disconnect(dispatch_uid=f"{__name__}.rejoice")

    work("events")

    letter = DeadLetter.objects.get()
    assert calls == []
    assert letter.tries == 1
    assert "has no subscriber" in letter.message


def test_a_dead_subscriber_is_run_when_its_letter_is_retried(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT)(rejoice)
    run_dispatch(publish(PARCEL_SENT, {"parcel": 7}), valkey)
    PARCEL_SENT.disconnect(dispatch_uid=f"{__name__}.rejoice")
    work("events")

    subscribe(PARCEL_SENT)(rejoice)
    DeadLetter.objects.get().retry()
    work("events")

    assert calls == ["rejoice"]


def test_an_event_without_subscribers_is_done(valkey: Redis, work: Work) -> None:
    publish(PARCEL_SENT, {"parcel": 7})

    work("events")

    stats = get_event_stats()
    assert (stats.waiting, stats.active, stats.completed, stats.failed) == (0, 0, 1, 0)


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


def test_the_figures_tell_each_topic_and_subscriber(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT, attempts=1)(stumble)
    subscribe(PARCEL_SENT)(rejoice)
    publish(PARCEL_SENT, {"parcel": 7})
    publish(PARCEL_SENT, {"parcel": 8})
    work("events")
    PARCEL_SENT.disconnect(dispatch_uid=f"{__name__}.stumble")
    publish("vote.created", VOTE)

    stats = get_event_stats()

    parcels, votes = stats.topics["parcel.sent"], stats.topics["vote.created"]
    assert (stats.waiting, stats.active, stats.delayed, stats.completed, stats.failed) == (1, 0, 0, 4, 2)
    assert (parcels.published, votes.published, stats.topics["reward.earned"].published) == (2, 1, 0)
    assert parcels.subscribers == {
        f"{__name__}.rejoice": SubscriberStats(run=2, skipped=0, failed=0),
        f"{__name__}.stumble": SubscriberStats(run=0, skipped=0, failed=2),
    }
    assert votes.subscribers == {"events.receivers.confirm_vote": SubscriberStats(run=0, skipped=0, failed=0)}


def test_without_redis_there_are_no_figures(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1/0")

    with pytest.raises(RedisUnavailable, match="Redis did not answer, so there are no figures"):
        get_event_stats()

    assert subscribers_of(topics.VOTE_CREATED)


def test_a_subscriber_may_stand_in_line_with_the_mails_and_is_none(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT, queue="low", attempts=2, backoff=AT_ONCE)(stumble)
    subscribe(PARCEL_SENT, queue="low")(rejoice)
    event_id = publish(PARCEL_SENT, {"parcel": 7})
    work("events")
    before = list(calls)
    waits = [job.label.rpartition(".")[2] for job in waiting(valkey, "low")]

    work("low", seconds=5)

    mails, stats = get_queue_stats(), get_event_stats()
    assert (before, waits) == ([], ["stumble", "rejoice"])
    assert sorted(calls) == ["rejoice", "stumble", "stumble"]
    assert (mails.main.completed, mails.main.failed, mails.main.retried, mails.dlq.count) == (0, 0, 0, 1)
    assert (stats.completed, stats.failed) == (2, 1)
    assert {told.job.queue for told in read_trail(event_id).subscribers} == {"low"}


def test_a_queue_that_is_not_ours_is_refused_at_once() -> None:
    with pytest.raises(InvalidSubscriber, match=r"'slow' is no queue for subscribers\. Use one of critical"):
        subscribe(PARCEL_SENT, queue="slow")
