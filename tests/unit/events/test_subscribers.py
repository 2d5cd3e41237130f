"""How subscribers are kept and told apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pytest_django import Settings

from emailqueue.errors import InvalidAttempts, InvalidBackoff, InvalidSubscriber
from emailqueue.events.dispatch import subscriber_job
from emailqueue.events.event import Event
from emailqueue.events.subscribers import Subscriber, subscribe, subscribers_of
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.outcome import SENT
from events.payloads import VoteCreated
from tests.support.orders import HERE, ORDER_SHIPPED, receive, receive_later, run, shipped, take, taken


def local() -> Callable[[Event], None]:
    def take_locally(event: Event) -> None:
        taken.append(event)

    return take_locally


class Shelf:
    def __init__(self) -> None:
        self.received = 0

    @classmethod
    def receive_for_all(cls, event: Event, **kwargs: object) -> None:
        taken.append(event)

    def receive(self, event: Event, **kwargs: object) -> None:
        self.received += 1
        taken.append(event)


def test_subscribing_again_with_other_options_is_refused() -> None:
    subscribe(ORDER_SHIPPED)(take)

    with pytest.raises(InvalidSubscriber, match=r"is subscribed to 'order\.shipped' already, with other options"):
        subscribe(ORDER_SHIPPED, attempts=7)(take)


def test_a_receiver_is_called_as_django_people_expect() -> None:
    shelf = Shelf()
    ORDER_SHIPPED.connect(shelf.receive, dispatch_uid="the first shelf")
    ORDER_SHIPPED.connect(shelf.receive, dispatch_uid="the first shelf")
    ORDER_SHIPPED.connect(Shelf.receive_for_all)
    ORDER_SHIPPED.connect(functools.partial(receive, extra=1), weak=False)
    ORDER_SHIPPED.connect(receive, sender=VoteCreated)  # which this topic never sends
    ORDER_SHIPPED.connect(Shelf().receive)  # held weakly, so it is gone
    ORDER_SHIPPED.connect(receive_later)
    ORDER_SHIPPED.disconnect(receive_later)
    names = list(subscribers_of(ORDER_SHIPPED))

    outcomes = [run(name) for name in names]

    assert names == ["the first shelf", f"{__name__}.Shelf.receive_for_all", f"{HERE}.receive"]
    assert outcomes == [SENT] * 3
    assert taken == [shipped()] * 3


def test_subscribing_twice_is_subscribing_once() -> None:
    decorated = subscribe(ORDER_SHIPPED)(subscribe(ORDER_SHIPPED)(take))

    subscribers = subscribers_of(ORDER_SHIPPED)

    assert decorated is take
    assert list(subscribers) == [f"{HERE}.take"]


def test_receivers_of_one_name_are_told_apart_by_number() -> None:
    shelves = [Shelf(), Shelf()]
    for shelf in shelves:
        ORDER_SHIPPED.connect(shelf.receive)

    subscribers = subscribers_of(ORDER_SHIPPED)
    subscribers[f"{__name__}.Shelf.receive#2"].take(shipped())

    assert list(subscribers) == [f"{__name__}.Shelf.receive", f"{__name__}.Shelf.receive#2"]
    assert [shelf.received for shelf in shelves] == [0, 1]


@pytest.mark.parametrize(
    "handler",
    [
        lambda event: event.order,
        local(),
        functools.partial(take),
    ],
)
def test_a_handler_that_a_worker_could_not_find_is_refused(handler: Any) -> None:
    with pytest.raises(InvalidSubscriber, match=r"cannot subscribe to 'order\.shipped': a worker in another"):
        subscribe(ORDER_SHIPPED)(handler)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attempts": 0}, InvalidAttempts),
        ({"attempts": True}, InvalidAttempts),
        ({"attempts": 101}, InvalidAttempts),
        ({"backoff": {"delay": -1}}, InvalidBackoff),
    ],
)
def test_a_subscriber_with_senseless_options_is_refused(options: Mapping[str, Any], error: type) -> None:
    with pytest.raises(error):
        subscribe(ORDER_SHIPPED, **options)


def test_a_subscriber_brings_its_own_attempts_and_backoff(settings: Settings) -> None:
    settings.EMAIL_QUEUE = {"ATTEMPTS": 4, "BACKOFF": {"delay": 9}}
    subscribe(ORDER_SHIPPED, attempts=7, backoff={"type": "fixed", "delay": 0.5})(take)
    ORDER_SHIPPED.connect(receive)

    jobs = [subscriber_job(shipped(), subscriber) for subscriber in subscribers_of(ORDER_SHIPPED).values()]

    assert [(job.attempts, job.backoff) for job in jobs] == [
        (7, Backoff(type="fixed", delay=0.5)),
        (4, Backoff(delay=9)),
    ]
    assert [job.label for job in jobs] == [
        f"order.shipped → {HERE}.take",
        f"order.shipped → {HERE}.receive",
    ]


def test_the_job_of_a_subscriber_has_the_same_id_each_time() -> None:
    first, again, other = (
        subscriber_job(shipped(), Subscriber(name=name, handler=take)) for name in ("a.take", "a.take", "b.take")
    )

    ids = {first.id, again.id, other.id}

    assert len(ids) == 2
    assert first.id == again.id
