"""A topic of a shop, and subscribers of every sort."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from emailqueue.events.dispatch import run_subscriber, subscriber_job
from emailqueue.events.event import Event
from emailqueue.events.subscribers import Subscriber, subscribers_of
from emailqueue.events.topics import Topic
from emailqueue.jobs.job import Call, Job
from emailqueue.jobs.outcome import Outcome

HERE = __name__


@dataclass(frozen=True, kw_only=True)
class OrderShipped:
    order: int
    currency: str = "EUR"
    tags: list[str] = field(default_factory=list)
    weights: dict[str, float] | None = None
    anything: Any = None


ORDER_SHIPPED = Topic("order.shipped", payload=OrderShipped)
taken: list[Event] = []


def take(event: Event) -> None:
    taken.append(event)


def stumble(event: Event) -> NoReturn:
    raise ConnectionError("the warehouse is away")


def receive(sender: type, event: Event, **kwargs: object) -> None:
    taken.append(event)


async def receive_later(sender: type, event: Event, **kwargs: object) -> None:
    taken.append(event)


def shipped(**payload: object) -> Event:
    return Event(
        id="e" * 32,
        topic="order.shipped",
        payload=ORDER_SHIPPED.validate({"order": 1, **payload}),
        published_at=datetime(2031, 5, 4, 12, 0, 0, 123456, tzinfo=UTC),
    )


def run(name: str) -> Outcome:
    subscriber = subscribers_of(ORDER_SHIPPED).get(name, Subscriber(name=name, handler=take))
    new = subscriber_job(shipped(), subscriber)
    job = Job(id=new.id, queue=new.queue, token="1", call=Call.read(new.fields()["data"].encode()))
    return run_subscriber(job, None)  # type: ignore[arg-type] # it sends no mail, so it asks nothing of its Run
