"""Who takes the events of a topic, and by which names."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from emailqueue.enqueue.call import valid_attempts
from emailqueue.errors import InvalidSubscriber
from emailqueue.events.event import Event, awaited
from emailqueue.events.filters import Filter, When, parse_filter
from emailqueue.events.topics import Receiver, Topic, get_topic
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.priority import EVENT_QUEUE, QUEUES

Handler = TypeVar("Handler", bound=Callable[[Event], object])

ARROW = " → "
"""Between topic and subscriber in the label of a subscriber's job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A handler with its options. It is what receives the signal of the topic."""

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

    def take(self, event: Event) -> str:
        """Call the handler with an event that its filter lets through, and return why not; empty when it was called."""
        event = replace(event, payload=get_topic(event.topic).schema.decode(event.payload))
        if self.filter and (reason := self.filter.mismatch(event)):
            return reason
        self(event=event)
        return ""

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
    letter. It may also run again after a worker was killed: event.id says that it is the same event.

    `when` says which events it takes: a function of the event, or a mapping of fields of the payload to a
    value or a list of values, of which each field must have one: {"country": ["DE", "AT"]}. What it
    skips is counted and stands in the trail of the event. A function that raises fails the attempt.

    `queue` is "events", or a mail queue ("critical", "high", "normal", "low") for a handler that stands in line with
    the mails: behind those that are more urgent, under their rate limit, and while they wait for the mail server.

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
        wanted = parse_filter(when, subscriber=name, topic=signal)
        options: Any = {"attempts": attempts, "backoff": waits, "queue": queue, "filter": wanted}
        connect_once(signal, Subscriber(name=name, handler=handler, **options))
        return handler

    return connect


def connect_once(topic: Topic, subscriber: Subscriber) -> None:
    """Connect a subscriber; the same one again changes nothing. Raises InvalidSubscriber for another of its name."""
    if subscribers_of(topic).get(subscriber.name, subscriber) != subscriber:
        # Django would keep the first one silently.
        raise InvalidSubscriber(
            f"{subscriber.name!r} is subscribed to {topic.name!r} already, with other options. Disconnect it first: "
            f"topic.disconnect(dispatch_uid={subscriber.name!r})."
        )
    topic.connect(subscriber, weak=False, dispatch_uid=subscriber.name)


def subscribers_of(topic: Topic) -> dict[str, Subscriber]:
    """
    Return the subscribers of a topic by name, those among them that were connected as to any signal.

    One of these that was connected with a dispatch_uid goes by that, others by their dotted path; those of one name
    are numbered in the order in which they were connected: shop.Cart.notify#2.
    """
    seen: Counter[str] = Counter()
    named = {}
    for receiver in topic.live_receivers():
        name = topic.uid_of(receiver) or _path(receiver)
        seen[name] += 1
        name = name if seen[name] == 1 else f"{name}#{seen[name]}"
        named[name] = receiver if isinstance(receiver, Subscriber) else _of_signal(receiver, name, topic)
    return named


def _of_signal(receiver: Receiver, name: str, topic: Topic) -> Subscriber:
    return Subscriber(name=name, handler=lambda event: receiver(signal=topic, sender=topic.payload, event=event))


def _path(receiver: Receiver) -> str:
    while isinstance(receiver, functools.partial):
        receiver = receiver.func
    # A callable object goes by the name of its class.
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"
