"""Subscribers, run as a worker would run them, without Redis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

import pytest
from pytest_django import Settings
from redis import RedisError

from emailqueue.events import topics
from emailqueue.events.event import Event
from emailqueue.events.subscribers import subscribe, subscribers_of
from emailqueue.events.topics import Topic
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import SENT
from tests.support.orders import (
    HERE,
    ORDER_SHIPPED,
    OrderShipped,
    receive,
    receive_later,
    run,
    shipped,
    stumble,
    take,
    taken,
)


async def take_later(event: Event) -> None:
    taken.append(event)


def lose_its_cache(event: Event) -> NoReturn:
    raise RedisError("the warehouse is away")


def leave(event: Event) -> NoReturn:
    raise SystemExit("the warehouse is away")


@pytest.mark.parametrize("debug", [True, False])
def test_a_subscriber_is_called_with_the_event(settings: Settings, debug: bool) -> None:
    settings.DEBUG = debug  # Django checks receivers then
    subscribe("order.shipped")(take)

    outcome = run(f"{HERE}.take")

    assert outcome is SENT
    assert taken == [shipped()]


def test_an_asynchronous_subscriber_is_awaited() -> None:
    subscribe(ORDER_SHIPPED)(take_later)

    outcome = run(f"{__name__}.take_later")

    assert outcome is SENT
    assert taken == [shipped()]


@dataclass(frozen=True, kw_only=True)
class Paid:
    at: datetime
    total: Decimal


def test_a_subscriber_sees_the_values_that_were_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_registry", {})
    topic, noon = Topic("order.paid", payload=Paid), datetime(2031, 5, 4, 12, tzinfo=UTC)
    stored = topic.validate(Paid(at=noon, total=Decimal("9.90")))
    event = Event(id="e" * 32, topic=topic.name, payload=stored, published_at=noon)
    subscribe(topic, when={"total": ["9.90", Decimal(1)]})(take)
    [subscriber] = subscribers_of(topic).values()

    subscriber.take(event)

    assert stored == {"at": "2031-05-04T12:00:00+00:00", "total": "9.90"}
    assert [(seen.at, seen.payload["total"]) for seen in taken] == [(noon, Decimal("9.90"))]


@pytest.mark.parametrize("function", [receive, receive_later])
def test_a_connected_receiver_is_called_as_django_calls_it(function: Any) -> None:
    ORDER_SHIPPED.connect(function, sender=OrderShipped)

    outcome = run(f"{function.__module__}.{function.__name__}")

    assert outcome is SENT
    assert taken == [shipped()]


def test_an_asynchronous_subscriber_also_hears_a_signal_that_is_sent_directly() -> None:
    subscribe(ORDER_SHIPPED)(take_later)

    ORDER_SHIPPED.send(sender=None, event=shipped())

    assert taken == [shipped()]


@pytest.mark.parametrize("handler", [stumble, lose_its_cache, leave])
def test_whatever_a_subscriber_raises_is_a_failed_attempt_of_its_own(handler: Any) -> None:
    subscribe(ORDER_SHIPPED)(handler)

    outcome = run(f"{handler.__module__}.{handler.__name__}")

    assert outcome.end is End.RETRY
    assert outcome.failure is not None
    assert outcome.failure.message == "the warehouse is away"


def test_a_subscriber_that_exists_no_longer_fails_for_good() -> None:
    subscribe(ORDER_SHIPPED)(take)
    ORDER_SHIPPED.disconnect(dispatch_uid=f"{HERE}.take")

    outcome = run(f"{HERE}.take")

    assert outcome.end is End.PERMANENT
    assert outcome.failure is not None
    assert f"'order.shipped' has no subscriber '{HERE}.take' any more. It has none." in outcome.failure.message
