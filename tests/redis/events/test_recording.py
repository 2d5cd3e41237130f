"""How long a trail lives, what it costs, and what happens when it cannot be written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings
from redis import Redis

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable, UnknownEvent
from emailqueue.events import Event, get_event_stats, publish, subscribe
from emailqueue.events.recording import Result, record
from emailqueue.events.trail import read_trail
from emailqueue.jobs.job import Job
from emailqueue.models import DeadLetter
from emailqueue.redis import connect, rq_queues
from events import publish_event
from tests.conftest import Work
from tests.support.crates import CRATE_OPENED, HERE, of, reward, stumble


def test_a_dead_subscriber_that_is_retried_adds_to_the_trail(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED, attempts=1)(stumble)
    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events")

    letter = DeadLetter.objects.get()
    letter.retry()
    work("events")

    attempts = of(stumble, read_trail(event_id)).attempts
    assert [(attempt.number, attempt.result, attempt.dead_letter) for attempt in attempts] == [
        (1, "failed", ""),
        (1, "failed", letter.pk),
    ]


def test_a_trail_expires_when_the_settings_say(valkey: Redis, work: Work, settings: Settings) -> None:
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, "EVENT_TRAIL": 60}
    subscribe(CRATE_OPENED)(reward)

    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events")

    assert 0 < valkey.ttl(f"events:trail:{event_id}") <= 60


def test_without_a_trail_skips_are_still_counted(valkey: Redis, work: Work, settings: Settings) -> None:
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, "EVENT_TRAIL": 0}
    subscribe(CRATE_OPENED, when={"crate": 8})(reward)

    publish(CRATE_OPENED, {"crate": 7})
    work("events")

    assert valkey.keys("events:trail:*") == []
    assert get_event_stats().topics["crate.opened"].subscribers[f"{HERE}.reward"].skipped == 1


def test_a_mail_whose_trail_has_expired_still_names_its_event(valkey: Redis, work: Work, settings: Settings) -> None:
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, "EVENT_TRAIL": 0, "KEEP_SENT": 1}
    subscribe(CRATE_OPENED)(reward)
    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events")
    ids: Any = valkey.lrange("rq:queue:high", 0, -1)
    valkey.delete(f"rq:job:{event_id}")

    with pytest.raises(UnknownEvent, match=f"was queued by event {event_id}, whose trail is older"):
        read_trail(ids[0].decode())


def test_a_subscriber_outlives_a_trail_that_cannot_be_written(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED)(reward)
    event_id = publish(CRATE_OPENED, {"crate": 7})
    valkey.set(f"events:trail:{event_id}", "of another type, so that each write is an error")

    work("events")

    assert valkey.llen("rq:queue:high") == 1
    assert get_event_stats().completed == 2


@pytest.mark.django_db
def test_without_redis_there_is_no_trail(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1/0")

    with pytest.raises(RedisUnavailable, match="so there is no trail"):
        read_trail("e" * 32)


@pytest.mark.parametrize("value", [-1, "1d", True, 10**9 + 1])
def test_a_trail_that_lasts_for_no_number_of_seconds_is_refused(settings: Settings, value: Any) -> None:
    settings.EMAIL_QUEUE = {"EVENT_TRAIL": value}

    with pytest.raises(ImproperlyConfigured, match=f"is {value!r}. Use a whole number of 0 or more"):
        get_settings()


def test_one_attempt_costs_one_round_trip_to_redis(valkey: Redis, work: Work) -> None:
    event = Event(id="e" * 32, topic="crate.opened", payload={"crate": 7}, published_at=datetime.now(UTC))
    job = Job(id="j" * 32, queue="events", token="1", label="crate.opened → shop.reward")
    record(event, "shop.reward", job, result=Result.RAN)  # which loads the script
    before: Any = connect().info("commandstats")

    record(event, "shop.reward", job, result=Result.SKIPPED, reason="crate is 7")

    after: Any = connect().info("commandstats")
    grown = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert {name: calls for name, calls in grown.items() if calls} == {
        "cmdstat_evalsha": 1,
        "cmdstat_hsetnx": 1,
        "cmdstat_hset": 1,
        "cmdstat_expire": 1,
        "cmdstat_info": 1,
    }


def test_the_built_in_topics_leave_a_trail(valkey: Redis, work: Work) -> None:
    event_id = publish_event.user_registered({"user_email": "ada@example.com", "user_name": "Ada"})

    work("events")

    [told] = read_trail(event_id).subscribers
    assert (told.name, told.counts) == ("events.receivers.welcome_user", {"referral-join": 1})
