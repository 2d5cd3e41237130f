"""Which events a filter lets through."""

from __future__ import annotations

from typing import Any

import pytest

from emailqueue.errors import InvalidSubscriber
from emailqueue.events.event import Event
from emailqueue.events.subscribers import subscribe, subscribers_of
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import SENT
from tests.support.orders import HERE, ORDER_SHIPPED, run, shipped, stumble, take, taken


def is_paid_in_dollars(event: Event) -> bool:
    return bool(event.currency == "USD")


async def will_be_large(event: Event) -> object:
    return event.weights


@pytest.mark.parametrize(
    ("when", "words", "reason"),
    [
        ({"currency": "USD"}, "currency is 'USD'", "currency is 'EUR', not 'USD'"),
        ({"order": [2, 3], "currency": "EUR"}, "order is 2 or 3 and currency is 'EUR'", "order is 1, not 2 or 3"),
        ({"order": {3, 2}}, "order is 2 or 3", "order is 1, not 2 or 3"),
        ({"tags": [["new"]]}, "tags is ['new']", "tags is [], not ['new']"),
        ({"anything": ("a",)}, "anything is 'a'", "anything is None, not 'a'"),
        (is_paid_in_dollars, "is_paid_in_dollars(event)", "is_paid_in_dollars(event) was False"),
        (will_be_large, "will_be_large(event)", "will_be_large(event) was None"),
        (lambda event: event.weights, "<lambda>(event)", "<lambda>(event) was None"),
    ],
)
def test_a_filter_skips_what_it_does_not_want_and_says_why(when: Any, words: str, reason: str) -> None:
    subscribe(ORDER_SHIPPED, when=when)(take)
    [subscriber] = subscribers_of(ORDER_SHIPPED).values()

    skipped = subscriber.take(shipped())

    assert (str(subscriber.filter), skipped, taken) == (words, reason, [])


@pytest.mark.parametrize(
    "when",
    [
        {"currency": ["USD", "EUR"], "order": 1},
        {"anything": None},
        {"weights": ({"box": 2.0}, None)},
        lambda event: event.order,
    ],
)
def test_a_filter_lets_through_what_it_wants(when: Any) -> None:
    subscribe(ORDER_SHIPPED, when=when)(take)

    outcome = run(f"{HERE}.take")

    assert outcome is SENT
    assert taken == [shipped()]


def test_a_filter_that_raises_is_a_failed_attempt() -> None:
    subscribe(ORDER_SHIPPED, when=stumble)(take)

    outcome = run(f"{HERE}.take")

    assert (outcome.end, taken) == (End.RETRY, [])


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ({"ordre": 1}, r"asks for 'ordre', which 'order\.shipped' has not\. It has order, currency, tags"),
        ({"order": "1"}, r"would skip every event: 'order' of 'order\.shipped' is '1'\. It must be a whole number"),
        ({"tags": ["new"]}, r"would skip every event: 'tags' .* must be a list"),
        ({"order": []}, "would skip every event: it has no value for 'order'"),
        ({"order": None}, "would skip every event"),
        ({}, "is empty. Leave `when` out"),
        ("order == 1", "is 'order == 1'. Use a function of the event, or a mapping"),
    ],
)
def test_a_filter_that_can_never_match_is_refused_at_once(when: Any, sentence: str) -> None:
    with pytest.raises(InvalidSubscriber, match=sentence):
        subscribe(ORDER_SHIPPED, when=when)(take)

    assert subscribers_of(ORDER_SHIPPED) == {}
