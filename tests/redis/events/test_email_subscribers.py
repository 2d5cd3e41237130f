"""Topics of a project, connected to e-mail types in a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_django import Settings
from redis import Redis

from emailqueue import EmailType, Priority, register
from emailqueue.errors import InvalidAttempts, InvalidPriority, InvalidSubscriber, UnknownEmailType
from emailqueue.events import Event, Topic, get_event_stats, publish, subscribe_email
from emailqueue.events.subscribers import subscribers_of
from emailqueue.events.trail import read_trail
from emailqueue.schema import Address
from tests.conftest import Work

PARCEL_LOST = register(
    EmailType(
        name="parcel-lost",
        template="events/reward-delivery.html",
        needed={"parcel": int, "where": str},
        optional={"note": str},
    )
)


@dataclass(frozen=True, kw_only=True)
class ParcelLost:
    parcel: int
    city: str
    customer: Address
    watchers: list[Address] | None = None
    note: str | None = None
    where: str = "the sea"


LOST = Topic("parcel.lost", payload=ParcelLost)
PARCEL = {"parcel": 7, "city": "Ulm", "customer": "ada@example.com"}


def owner_of(event: Event) -> str | None:
    return "eve@example.com" if event.city == "Ulm" else None


def told_by(event: Event) -> dict[str, Any]:
    return {"parcel": event.parcel, "where": event.city.upper()}


@pytest.fixture(autouse=True)
def _nobody_subscribes() -> Iterator[None]:
    yield
    LOST.receivers.clear()


def mails(valkey: Redis, queue: str = "normal") -> list[tuple[str, Any]]:
    ids: Any = valkey.lrange(f"rq:queue:{queue}", 0, -1)
    stored: list[Any] = [valkey.hget(f"rq:job:{job_id.decode()}", "data") for job_id in ids]
    return [(arguments["to"], arguments["context"]) for _, _, _, arguments in map(json.loads, stored)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"to": "customer"}, [("ada@example.com", {"parcel": 7, "where": "the sea", "note": "sorry"})]),
        ({"to": "watchers", "context": ["parcel", "where"]}, [("bob@example.com", {"parcel": 7, "where": "the sea"})]),
        (
            {"to": "customer", "context": {"parcel": "parcel", "where": "city"}},
            [("ada@example.com", {"parcel": 7, "where": "Ulm"})],
        ),
        ({"to": owner_of, "context": told_by}, [("eve@example.com", {"parcel": 7, "where": "ULM"})]),
        (
            {"to": "customer", "when": {"city": ["Ulm", "Bonn"]}, "context": told_by},
            [("ada@example.com", {"parcel": 7, "where": "ULM"})],
        ),
        ({"to": "customer", "when": {"city": "Bonn"}}, []),
    ],
)
def test_a_topic_leads_to_mails_in_a_line(
    valkey: Redis, work: Work, options: dict[str, Any], expected: list[tuple[str, Any]]
) -> None:
    subscribe_email(LOST, "parcel-lost", **options)

    publish(LOST, ParcelLost(**PARCEL, watchers=["bob@example.com", "bob@example.com"], note="sorry"))  # type: ignore[arg-type] # texts and a number
    work("events")

    assert mails(valkey) == expected


def test_it_subscribes_while_debugging_too_when_django_looks_the_receiver_up_by_its_hash(settings: Settings) -> None:
    settings.DEBUG = True

    subscribe_email(LOST, "parcel-lost", to="customer", when={"city": ["Ulm", "Bonn"]})

    assert list(subscribers_of(LOST)) == ["e-mail parcel-lost to customer"]


@pytest.mark.parametrize("to", ["watchers", owner_of])
def test_for_nobody_no_mail_is_queued(valkey: Redis, work: Work, to: Any) -> None:
    subscribe_email(LOST, PARCEL_LOST, to=to)

    publish(LOST, {**PARCEL, "city": "Bonn"})
    work("events")

    assert (mails(valkey), get_event_stats().completed) == ([], 2)


def test_the_options_are_those_of_the_mails(valkey: Redis, work: Work) -> None:
    subscribe_email(LOST, "parcel-lost", to="customer", priority="low", attempts=7, backoff={"delay": 9}, delay=60)

    publish(LOST, PARCEL)
    work("events")

    ids: Any = valkey.zrange("rq:scheduled:low", 0, -1)
    plan = json.loads(valkey.hget(f"rq:job:{ids[0].decode()}", "plan") or "")
    assert (plan["attempts"], plan["backoff"]["delay"]) == (7, 9)


def test_it_goes_by_a_name_that_says_what_it_does(valkey: Redis, work: Work) -> None:
    subscribe_email(LOST, "parcel-lost", to="customer")
    subscribe_email(LOST, "parcel-lost", to=owner_of)
    subscribe_email(LOST, "parcel-lost", to="customer", name="insurance", when={"parcel": 7}, priority=Priority.LOW)

    event_id = publish(LOST, PARCEL)
    work("events")

    names = ["e-mail parcel-lost to customer", "e-mail parcel-lost to owner_of", "insurance"]
    assert [told.name for told in read_trail(event_id).subscribers] == names
    assert list(get_event_stats().topics["parcel.lost"].subscribers) == names


def test_the_same_line_twice_is_one_subscriber_and_another_of_its_name_is_refused() -> None:
    for _ in range(2):
        subscribe_email(LOST, "parcel-lost", to="customer", when={"parcel": 7})

    with pytest.raises(InvalidSubscriber, match="already, with other options"):
        subscribe_email(LOST, "parcel-lost", to="customer")

    assert len(subscribers_of(LOST)) == 1


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"to": "costumer"}, InvalidSubscriber, "asks for 'costumer', which 'parcel.lost' has not. It has parcel, "),
        ({"to": "parcel"}, InvalidSubscriber, "from 'parcel' of 'parcel.lost', which is a whole number. Use a "),
        ({"to": "customer", "context": ["parcel", "place"]}, InvalidSubscriber, "asks for 'place', which 'parcel"),
        ({"to": "customer", "context": "city"}, InvalidSubscriber, "has 'city' in its context, which the e-mail t"),
        ({"to": "customer", "context": ["where"]}, InvalidSubscriber, "has no 'parcel' in its context, which the"),
        ({"to": "customer", "when": {"town": "Ulm"}}, InvalidSubscriber, "asks for 'town', which 'parcel.lost' has"),
        ({"to": "customer", "priority": "urgent"}, InvalidPriority, "'urgent' is not a priority"),
        ({"to": "customer", "attempts": 0}, InvalidAttempts, "0"),
    ],
)
def test_a_line_that_cannot_work_is_refused_at_once(options: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        subscribe_email(LOST, "parcel-lost", **options)

    assert subscribers_of(LOST) == {}


def test_an_e_mail_type_that_is_not_registered_is_refused_at_once() -> None:
    with pytest.raises(UnknownEmailType, match="'parcel-found' is not an e-mail type"):
        subscribe_email(LOST, "parcel-found", to="customer")
