"""How a project says who is told of an event, and by which names they go."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from emailqueue.enqueue.call import valid_attempts
from emailqueue.events.asynchronous import awaited
from emailqueue.events.errors import InvalidSubscriber
from emailqueue.events.event import Event
from emailqueue.events.filters import Filter, When, parse_filter
from emailqueue.events.topics import Receiver, Topic, get_topic
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.priority import EVENT_QUEUE, QUEUES

Handler = TypeVar("Handler", bound=Callable[[Event], object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """The receiver that is connected to a topic for a handler."""

    name: str
    handler: Callable[[Event], object]
    attempts: int | None = None
    """None: as EMAIL_QUEUE says."""

    backoff: Backoff | None = None
    """None: as EMAIL_QUEUE says."""

    queue: str = EVENT_QUEUE
    """Where its jobs wait; in a mail queue they stand in line with the mails."""

    filter: Filter | None = None
    """Which events the handler is called for; None: for all."""

    def __call__(self, *, event: Event, **kwargs: object) -> object:
        return awaited(self.handler(event))

    def __hash__(self) -> int:
        # Handler and filter may hold dicts. Django hashes receivers in connect(), with DEBUG on.
        return hash(self.name)


def subscribe(
    topic: str | Topic,
    *,
    attempts: int | None = None,
    backoff: Backoff | Mapping[str, Any] | None = None,
    queue: str = EVENT_QUEUE,
    when: When | None = None,
) -> Callable[[Handler], Handler]:
    """
    Run the decorated function, handler(event), in a worker for every event of `topic`.

    It may be async. An exception in it is a failed attempt: this handler alone is run again, `attempts`
    times in all with the waits of `backoff` (default: those of EMAIL_QUEUE), and then becomes a dead
    letter. It may also run again after the death of a worker: event.id says that it is the same event.

    `when` says which events it wants: a function of the event, or a mapping of fields of the payload to a
    value or a list of values, of which each field must have one: {"country": ["DE", "AT"]}. What it
    skips is counted and stands in the trail of the event. A function that raises fails the attempt.

    `queue` is "events", or a mail queue ("critical", "high", "normal", "low") for a handler that shall stand in
    line with the mails: behind those that are more urgent, under their rate limit and while they are held.

    Import the handler's module where the workers start, for example in AppConfig.ready(). To undo it, call
    topic.disconnect(dispatch_uid="dotted.path"). Raises UnknownTopic, InvalidAttempts, InvalidBackoff, or
    InvalidSubscriber for a lambda or a function inside another, which a worker could not find by name, for a
    queue that is not ours, and for a filter that can never match.
    """
    signal = get_topic(topic)
    if attempts is not None:
        valid_attempts(attempts)
    waits = None if backoff is None else Backoff.parse(backoff)
    if queue not in QUEUES:
        raise InvalidSubscriber(f"{queue!r} is no queue for subscribers. Use one of {', '.join(QUEUES)}.")

    def connect(handler: Handler) -> Handler:
        name = _path(handler)
        if "<" in name or not hasattr(handler, "__qualname__"):
            raise InvalidSubscriber(
                f"{name!r} cannot subscribe to {signal.name!r}: a worker in another process could not find it "
                "by that name. Use a function at the top level of a module."
            )
        wanted = None if when is None else parse_filter(when, subscriber=name, topic=signal)
        connect_once(
            signal,
            Subscription(name=name, handler=handler, attempts=attempts, backoff=waits, queue=queue, filter=wanted),
        )
        return handler

    return connect


def connect_once(topic: Topic, subscription: Subscription) -> None:
    """Connect a subscription; the same one again changes nothing. Raises InvalidSubscriber for another of its name."""
    known = subscribers_of(topic).get(subscription.name, subscription)
    if known != subscription:
        # Django would keep the first one silently.
        raise InvalidSubscriber(
            f"{subscription.name!r} is subscribed to {topic.name!r} already, with other options. Disconnect it first: "
            f"topic.disconnect(dispatch_uid={subscription.name!r})."
        )
    topic.connect(subscription, weak=False, dispatch_uid=subscription.name)


def subscribers_of(topic: Topic) -> dict[str, Receiver]:
    """
    Return the live receivers of a topic by name.

    One that was connected with a dispatch_uid goes by that, others by their dotted path; those of one name are
    numbered in the order in which they were connected: shop.Cart.notify#2.
    """
    seen: Counter[str] = Counter()
    named = {}
    for receiver in topic.live_receivers():
        name = topic.uid_of(receiver) or _path(receiver)
        seen[name] += 1
        named[name if seen[name] == 1 else f"{name}#{seen[name]}"] = receiver
    return named


def _path(receiver: Receiver) -> str:
    while isinstance(receiver, functools.partial):
        receiver = receiver.func
    # A callable object goes by the name of its class.
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"
