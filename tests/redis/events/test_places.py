"""How an event is found by what it led to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis import Redis

from emailqueue import queue_email
from emailqueue.errors import UnknownEvent
from emailqueue.events import Event, publish, subscribe
from emailqueue.events.dispatch import subscriber_job
from emailqueue.events.places import Place
from emailqueue.events.subscribers import Subscriber
from emailqueue.events.trail import read_trail
from emailqueue.models import OutboxRow
from emailqueue.testing.mailserver import MailServer
from tests.conftest import Work
from tests.support.crates import CRATE_OPENED, REWARD, of, reward, reward_all, stumble


def test_an_event_is_found_by_whatever_it_led_to(valkey: Redis, work: Work, mailbox: MailServer) -> None:
    subscribe(CRATE_OPENED)(reward)
    subscribe(CRATE_OPENED, attempts=1)(stumble)
    mailbox.replies = ["550 no such mailbox"]
    event_id = publish(CRATE_OPENED, {"crate": 7})
    before = read_trail(event_id)
    work()
    trail = read_trail(event_id)

    [mail] = of(reward, trail).queued
    rewarded, stumbled = of(reward, trail).job, of(stumble, trail).job
    ids = [mail.id, mail.dead_letter, rewarded.id, stumbled.id, stumbled.dead_letter]
    found = [read_trail(given).id for given in ids]

    assert (before.job.place, before.payload, before.subscribers) == (Place.WAITING, {"crate": 7}, [])
    assert all(ids)
    assert found == [event_id] * 5


def test_an_event_that_waits_in_the_outbox_is_found_there(valkey: Redis, db: None) -> None:
    event = Event(id="e" * 32, topic="crate.opened", payload={"crate": 7}, published_at=datetime.now(UTC))
    job = replace(subscriber_job(event, Subscriber(name="", handler=reward)), id=event.id)
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
