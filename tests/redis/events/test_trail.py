"""The trail of an event: what is written down, and where it says that the mails are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import transaction
from redis import Redis

from emailqueue import Backoff, cancel_email, schedule_email
from emailqueue.events import Event, get_event_stats, publish, subscribe
from emailqueue.events import topics as bus
from emailqueue.events.dispatch import subscriber_job
from emailqueue.events.places import Place
from emailqueue.events.recording import Result, record
from emailqueue.events.stats import SubscriberStats
from emailqueue.events.subscribers import Subscriber
from emailqueue.events.trail import SubscriberTrail, read_trail
from emailqueue.jobs.job import Job
from emailqueue.models import DeadLetter
from emailqueue.testing.mailserver import MailServer
from tests.conftest import Work, claim_and_vanish
from tests.support.crates import CRATE_OPENED, HERE, REWARD, of, reward, reward_all, stumble

AT_ONCE = Backoff(type="fixed", delay=0)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


async def reward_later(event: Event) -> None:
    schedule_email("reward-delivery", "ada@example.com", REWARD, TOMORROW)


def reward_on_commit(event: Event) -> None:
    with transaction.atomic():
        reward(event)


def open_another(event: Event) -> None:
    if event.crate:
        publish(CRATE_OPENED, {"crate": 0})


def stumble_in_filter(event: Event) -> bool:
    raise ConnectionError("the warehouse is away")


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
    assert (of(stumble, trail).job.place, of(stumble, trail).job.dead_letter) == (
        Place.DEAD,
        DeadLetter.objects.get(label__endswith="stumble").pk,
    )


def test_what_is_skipped_is_counted_for_the_subscriber(valkey: Redis, work: Work) -> None:
    subscribe(CRATE_OPENED, when={"crate": 8})(reward)
    for crate in (7, 8, 9):
        publish(CRATE_OPENED, {"crate": crate})

    work("events")

    stats = get_event_stats().topics["crate.opened"].subscribers
    assert stats == {f"{HERE}.reward": SubscriberStats(run=1, skipped=2, failed=0)}


def test_a_skip_that_is_settled_late_and_run_again_is_counted_once(valkey: Redis, db: None) -> None:
    event = Event(id="e" * 32, topic="crate.opened", payload={"crate": 7}, published_at=datetime.now(UTC))
    new = subscriber_job(event, Subscriber(name="shop.reward", handler=reward))
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
    CRATE_OPENED.disconnect(dispatch_uid=f"{HERE}.reward")

    work("low")

    after = of(reward, read_trail(event_id))
    assert (before.attempts, before.job.place) == ([], Place.WAITING)
    assert [attempt.result for attempt in after.attempts] == [Result.FAILED]
    assert after.attempts[0].reason.startswith(f"MissingSubscriber: 'crate.opened' has no subscriber '{HERE}.reward'")
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
