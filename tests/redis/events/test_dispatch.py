"""How an event reaches its subscribers, each alone in its failure."""

from __future__ import annotations

import pytest
from redis import Redis

from emailqueue.events import Event, get_event_stats, publish, subscribe
from emailqueue.events.dispatch import dispatch
from emailqueue.jobs.job import Call, Job
from emailqueue.models import DeadLetter
from tests.conftest import Work
from tests.support.parcels import AT_ONCE, HERE, PARCEL_SENT, ParcelSent, calls, rejoice, stumble

pytestmark = pytest.mark.usefixtures("subscribers_as_before")


async def rejoice_later(event: Event) -> None:
    calls.append("rejoice later")


def receive(sender: type, event: Event, **kwargs: object) -> None:
    calls.append(f"receive {event.parcel}")


def run_dispatch(event_id: str, valkey: Redis) -> None:
    data = valkey.hget(f"rq:job:{event_id}", "data")
    assert data is not None
    dispatch(Job(id=event_id, queue="events", token="1", call=Call.read(data)), None)  # type: ignore[arg-type] # sends no mail


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
    assert letter.label == f"parcel.sent → {HERE}.stumble"
    assert [attempt.message for attempt in letter.attempts.all()] == ["the warehouse is away"] * 2


def test_a_subscriber_that_was_removed_meanwhile_is_a_dead_letter_at_once(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT)(rejoice)
    run_dispatch(publish(PARCEL_SENT, {"parcel": 7}), valkey)
    PARCEL_SENT.disconnect(dispatch_uid=f"{HERE}.rejoice")

    work("events")

    letter = DeadLetter.objects.get()
    assert calls == []
    assert letter.attempts_charged == 1
    assert "has no subscriber" in letter.message


def test_a_dead_subscriber_is_run_when_its_letter_is_retried(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT)(rejoice)
    run_dispatch(publish(PARCEL_SENT, {"parcel": 7}), valkey)
    PARCEL_SENT.disconnect(dispatch_uid=f"{HERE}.rejoice")
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
