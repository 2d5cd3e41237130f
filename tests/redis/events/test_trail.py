"""The trail of an event on a real Valkey and a worker: what is written down, and where it says that the mails are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from pytest_django import Settings
from redis import Redis

from emailqueue import Backoff, cancel_email, queue_bulk_emails, queue_email, schedule_email
from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.events import Event, Topic, get_event_stats, publish, subscribe
from emailqueue.events import topics as bus
from emailqueue.events.errors import UnknownEvent
from emailqueue.events.recording import Result, record
from emailqueue.events.stats import SubscriberStats
from emailqueue.events.subscribers import subscriber_job
from emailqueue.events.trail import SubscriberTrail, Trail, read_trail
from emailqueue.events.whereabouts import Place
from emailqueue.jobs.job import Job
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.redis import connect, rq_queues
from emailqueue.testing.mailserver import MailServer
from events import publish_event
from tests.conftest import Work, claim_and_vanish

REWARD = {"reward_name": "Mug"}
AT_ONCE = Backoff(type="fixed", delay=0)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class CrateOpened:
    crate: int
    fans: list[str] | None = None


CRATE_OPENED = Topic("crate.opened", payload=CrateOpened)


def reward(event: Event) -> None:
    queue_email("reward-delivery", "ada@example.com", REWARD)


def reward_all(event: Event) -> None:
    queue_bulk_emails("reward-delivery", event.fans, REWARD)


async def reward_later(event: Event) -> None:
    schedule_email("reward-delivery", "ada@example.com", REWARD, TOMORROW)


def reward_on_commit(event: Event) -> None:
    with transaction.atomic():
        reward(event)


def open_another(event: Event) -> None:
    if event.crate:
        publish(CRATE_OPENED, {"crate": 0})


def stumble(event: Event) -> None:
    queue_email("reward-delivery", "ada@example.com", REWARD)
    raise ConnectionError("the warehouse is away")


def stumble_in_filter(event: Event) -> bool:
    raise ConnectionError("the warehouse is away")


@pytest.fixture(autouse=True)
def _nobody_subscribes() -> Iterator[None]:
    yield
    CRATE_OPENED.receivers.clear()


def of(handler: Any, trail: Trail) -> SubscriberTrail:
    [found] = [told for told in trail.subscribers if told.name == f"{__name__}.{handler.__name__}"]
    return found


def told_of(told: SubscriberTrail) -> list[tuple[int, str, str]]:
    return [(attempt.number, attempt.result, attempt.reason) for attempt in told.attempts]


def test_the_trail_tells_who_ran_who_was_skipped_who_failed_and_what_was_queued(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED)(reward)
    subscribe(CRATE_OPENED, when={"crate": [8, 9]})(reward_all)
    subscribe(CRATE_OPENED, attempts=2, backoff=AT_ONCE)(stumble)
    subscribe(CRATE_OPENED, attempts=1, when=stumble_in_filter)(reward_on_commit)

    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events", seconds=5)
    trail = read_trail(event_id)

    error = "ConnectionError: the warehouse is away"
    assert (trail.id, trail.topic, trail.payload, trail.cause) == (event_id, "crate.opened", {"crate": 7}, "")
    assert [attempt.result for attempt in trail.attempts] == ["ran"]
    assert told_of(of(reward, trail)) == [(1, "ran", "")]
    assert told_of(of(reward_all, trail)) == [(1, "skipped", "crate is 7, not 8 or 9")]
    assert told_of(of(stumble, trail)) == [(1, "failed", error), (2, "failed", error)]
    assert told_of(of(reward_on_commit, trail)) == [(1, "failed", error)]
    assert [(mail.label, mail.queue, mail.place) for mail in of(reward, trail).queued] == [
        ("reward-delivery", "high", Place.WAITING)
    ]
    assert (of(reward_all, trail).queued, of(stumble, trail).queued) == ([], [])
    assert (of(stumble, trail).job.place, of(stumble, trail).job.letter) == (
        Place.DEAD,
        DeadLetter.objects.get(label__endswith="stumble").pk,
    )


def test_what_is_skipped_is_counted_for_the_subscriber(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED, when={"crate": 8})(reward)
    for crate in (7, 8, 9):
        publish(CRATE_OPENED, {"crate": crate})

    work("events")

    stats = get_event_stats().topics["crate.opened"].subscribers
    assert stats == {f"{__name__}.reward": SubscriberStats(run=1, skipped=2, failed=0)}


def test_a_skip_that_is_settled_late_and_run_again_is_counted_once(valkey: Redis, db: None) -> None:
    event = Event(id="e" * 32, topic="crate.opened", payload={"crate": 7}, published_at=datetime.now(UTC))
    new = subscriber_job(event, "shop.reward", reward)
    job = Job(id=new.id, queue="events", token="1", label=new.label)

    for _ in range(2):
        record(event, "shop.reward", job, result=Result.SKIPPED, reason="crate is 7")

    assert get_event_stats().topics["crate.opened"].subscribers["shop.reward"].skipped == 1
    assert len(read_trail(event.id).subscribers[0].attempts) == 1


def test_the_trail_says_where_each_mail_is(valkey: Redis, work: Work, mailbox: MailServer) -> None:
    for handler in (reward, reward_all, reward_later, reward_on_commit):
        subscribe(CRATE_OPENED, when={"crate": 7})(handler)
    mailbox.replies = ["550 no such mailbox"]

    event_id = publish(CRATE_OPENED, {"crate": 7, "fans": ["ada@example.com", "bob@example.com"]})
    work("events")
    waiting = read_trail(event_id)
    cancelled = of(reward, waiting).queued[0].id
    cancel_email(cancelled)
    [taken] = claim_and_vanish(valkey, "high", lease=60)
    work()
    trail = read_trail(event_id)

    before = {mail.id: mail.place for told in waiting.subscribers for mail in told.queued}
    after = {mail.id: mail.place for told in trail.subscribers for mail in told.queued}
    [scheduled] = of(reward_later, trail).queued
    assert sorted(before.values()) == ["scheduled", *["waiting"] * 4]
    assert sorted(after.values()) == ["dead letter", "ended", "scheduled", "sent", "worker"]
    assert after[cancelled] is Place.ENDED
    assert after[taken.id] is Place.WORKER
    assert scheduled.place is Place.SCHEDULED


def test_a_subscriber_that_was_removed_is_told_of_in_the_trail(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED, queue="low")(reward)
    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events")
    before = of(reward, read_trail(event_id))
    CRATE_OPENED.disconnect(dispatch_uid=f"{__name__}.reward")

    work("low")

    after = of(reward, read_trail(event_id))
    assert (before.attempts, before.job.place) == ([], Place.WAITING)
    assert [attempt.result for attempt in after.attempts] == [Result.FAILED]
    assert after.attempts[0].reason.startswith(
        f"MissingSubscriber: 'crate.opened' has no subscriber '{__name__}.reward'"
    )
    assert after.job.place is Place.DEAD


def test_a_topic_that_the_worker_does_not_know_is_told_of_in_the_trail(valkey: Redis, work: Work) -> None:
    event_id = publish(CRATE_OPENED, {"crate": 7})
    known = bus._registry.pop("crate.opened")

    work("events")
    bus._registry["crate.opened"] = known

    trail = read_trail(event_id)
    assert [(attempt.result, attempt.reason[:32]) for attempt in trail.attempts] == [
        (Result.FAILED, "UnknownTopic: 'crate.opened' is ")
    ]
    assert (trail.job.place, trail.subscribers) == (Place.SCHEDULED, [])


def test_an_event_that_a_subscriber_published_names_the_one_before(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED)(open_another)

    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events")
    [nested] = of(open_another, read_trail(event_id)).queued

    assert read_trail(nested.id).cause == event_id
    assert read_trail(nested.id).payload == {"crate": 0}


def test_a_mail_that_was_stored_and_not_committed_yet_is_not_said_to_be_done(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED)(reward)
    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events")
    [mail] = of(reward, read_trail(event_id)).queued
    valkey.delete(f"rq:job:{mail.id}")
    valkey.hset(f"rq:job:{of(reward, read_trail(event_id)).job.id}", "place", "lease")

    trail = read_trail(event_id)

    assert of(reward, trail).queued[0].place is Place.UNKNOWN


def test_an_event_is_found_by_whatever_it_led_to(valkey: Redis, work: Work, mailbox: MailServer) -> None:
    subscribe(CRATE_OPENED)(reward)
    subscribe(CRATE_OPENED, attempts=1)(stumble)
    mailbox.replies = ["550 no such mailbox"]
    event_id = publish(CRATE_OPENED, {"crate": 7})
    before = read_trail(event_id)
    work()
    trail = read_trail(event_id)

    [mail] = of(reward, trail).queued
    ids = [mail.id, mail.letter, of(reward, trail).job.id, of(stumble, trail).job.id, of(stumble, trail).job.letter]
    found = [read_trail(given).id for given in ids]

    assert (before.job.place, before.payload, before.subscribers) == (Place.WAITING, {"crate": 7}, [])
    assert all(ids)
    assert found == [event_id] * 5


def test_an_event_that_waits_in_the_outbox_is_found_there(valkey: Redis, db: None) -> None:
    event = Event(id="e" * 32, topic="crate.opened", payload={"crate": 7}, published_at=datetime.now(UTC))
    job = replace(subscriber_job(event, "", reward), id=event.id)
    OutboxRow.objects.keep([job])

    trail = read_trail(event.id)

    assert (trail.payload, trail.job.place, trail.subscribers) == ({"crate": 7}, Place.OUTBOX, [])


def test_an_id_that_leads_nowhere_says_so(valkey: Redis, work: Work) -> None:
    alone = queue_email("reward-delivery", "ada@example.com", REWARD)
    valkey.hset("rq:job:strange", "data", "of another kind")

    with pytest.raises(UnknownEvent, match="'strange' leads to no event"):
        read_trail("strange")

    with pytest.raises(UnknownEvent, match="leads to no event: it is unknown, older than EMAIL_QUEUE"):
        read_trail(alone)
    with pytest.raises(UnknownEvent, match="'no such id' leads to no event"):
        read_trail("no such id")


def test_of_many_mails_some_are_named_and_all_are_counted(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED)(reward_all)
    fans = [f"fan{number}@example.com" for number in range(1234)]

    event_id = publish(CRATE_OPENED, {"crate": 7, "fans": fans})
    work("events")
    trail = read_trail(event_id)

    told = of(reward_all, trail)
    assert (told.counts, len(told.queued), told.unnamed) == ({"reward-delivery": 1234}, 300, 934)
    assert {mail.place for mail in told.queued} == {Place.WAITING}
    assert trail.payload["fans"] == [*fans[:20], "… 1214 more"]


def test_a_dead_subscriber_that_is_retried_adds_to_the_trail(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED, attempts=1)(stumble)
    event_id = publish(CRATE_OPENED, {"crate": 7})
    work("events")

    letter = DeadLetter.objects.get()
    letter.retry()
    work("events")

    attempts = of(stumble, read_trail(event_id)).attempts
    assert [(attempt.number, attempt.result, attempt.letter) for attempt in attempts] == [
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
    assert get_event_stats().topics["crate.opened"].subscribers[f"{__name__}.reward"].skipped == 1


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
