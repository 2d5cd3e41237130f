"""Who is told of an event, and how one of them is run."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from asgiref.sync import async_to_sync

from emailqueue.backoff import Backoff
from emailqueue.compose import valid_attempts
from emailqueue.conf import get_settings
from emailqueue.jobs import Job, NewJob, Run, job_function, new_id, path_of
from emailqueue.outcome import SENT, Kind, Outcome
from emailqueue.priority import EVENT_QUEUE
from emailqueue.staging import present_staging
from events.errors import InvalidSubscriber, MissingSubscriber
from events.event import Event
from events.topics import Receiver, Topic, get_topic

ARROW = " → "
"""Between topic and subscriber in the label of a subscriber's job."""

Handler = TypeVar("Handler", bound=Callable[[Event], object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """The receiver that @subscribe connects to a topic for a handler."""

    name: str
    handler: Callable[[Event], object]
    attempts: int | None
    backoff: Backoff | None

    def __call__(self, *, event: Event, **kwargs: object) -> object:
        return _awaited(self.handler(event))


def subscribe(
    topic: str | Topic, *, attempts: int | None = None, backoff: Backoff | Mapping[str, Any] | None = None
) -> Callable[[Handler], Handler]:
    """
    Run the decorated function, handler(event), in a worker for every event of `topic`.

    It may be async. An exception in it is a failed attempt: this handler alone is run again, `attempts`
    times in all with the waits of `backoff` (default: those of EMAIL_QUEUE), and then becomes a dead
    letter. It may also run again after the death of a worker: event.id says that it is the same event.
    Import its module where the workers start, for example in AppConfig.ready(). To undo it, call
    topic.disconnect(dispatch_uid="dotted.path"). Raises UnknownTopic, InvalidAttempts, InvalidBackoff, or
    InvalidSubscriber for a lambda or a function inside another, which a worker could not find by name.
    """
    signal = get_topic(topic)
    if attempts is not None:
        valid_attempts(attempts)
    waits = None if backoff is None else Backoff.parse(backoff)

    def connect(handler: Handler) -> Handler:
        name = _name_of(handler)
        if "<" in name or not hasattr(handler, "__qualname__"):
            raise InvalidSubscriber(
                f"{name!r} cannot subscribe to {signal.name!r}: a worker in another process could not find it "
                "by that name. Use a function at the top level of a module."
            )
        subscription = Subscription(name=name, handler=handler, attempts=attempts, backoff=waits)
        signal.connect(subscription, weak=False, dispatch_uid=name)
        return handler

    return connect


def subscribers_of(topic: Topic) -> dict[str, Receiver]:
    """Return the live receivers of a topic by name; those of one name are numbered: shop.Cart.notify#2."""
    seen: Counter[str] = Counter()
    named = {}
    for receiver in topic.live_receivers():
        name = _name_of(receiver)
        seen[name] += 1
        named[name if seen[name] == 1 else f"{name}#{seen[name]}"] = receiver
    return named


def subscriber_job(event: Event, name: str, receiver: Receiver) -> NewJob:
    """Return the job that runs one subscriber for one event; its id is the same each time it is made."""
    settings = get_settings()
    attempts, backoff = None, None
    if isinstance(receiver, Subscription):
        attempts, backoff = receiver.attempts, receiver.backoff
    return NewJob(
        id=new_id(f"subscriber:{event.id}:{name}"),
        queue=EVENT_QUEUE,
        function=path_of(run_subscriber),
        arguments={"event": event.as_json(), "subscriber": name},
        attempts=attempts or settings.attempts,
        backoff=backoff or settings.backoff,
        label=f"{event.topic}{ARROW}{name}",
    )


@job_function
def run_subscriber(job: Job, _run: Run) -> Outcome:
    """Call one subscriber with one event. What it raises is a failed attempt."""
    arguments = job.arguments()
    event = Event.parse(arguments["event"])
    topic = get_topic(event.topic)
    subscribers = subscribers_of(topic)
    receiver = subscribers.get(arguments["subscriber"])
    if receiver is None:
        return Outcome.failed(Kind.PERMANENT, _missing(arguments["subscriber"], topic, subscribers))
    if staging := present_staging():
        staging.cause = event.id
    _awaited(receiver(signal=topic, sender=topic.payload, event=event))
    return SENT


def _missing(name: str, topic: Topic, subscribers: Mapping[str, Receiver]) -> MissingSubscriber:
    return MissingSubscriber(
        f"{topic.name!r} has no subscriber {name!r} any more. It has {', '.join(subscribers) or 'none'}. "
        "Retry when it is connected again, or discard this letter."
    )


def _name_of(receiver: Receiver) -> str:
    if isinstance(receiver, Subscription):
        return receiver.name
    # A callable object, or a partial one, goes by the name of its class.
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


def _awaited(answer: object) -> object:
    if not inspect.isawaitable(answer):
        return answer

    async def awaited() -> object:
        return await answer

    return async_to_sync(awaited)()
