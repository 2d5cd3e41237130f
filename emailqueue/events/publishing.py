"""How code says that something happened."""

from datetime import UTC, datetime

from emailqueue.conf import get_settings
from emailqueue.enqueue.call import valid_key
from emailqueue.enqueue.staging import fresh_id
from emailqueue.enqueue.submit import submit
from emailqueue.events.dispatch import DISPATCH_EVENT
from emailqueue.events.event import Event
from emailqueue.events.topics import Topic, get_topic
from emailqueue.jobs.job import NewJob
from emailqueue.jobs.priority import EVENT_QUEUE


def publish(
    topic: str | Topic, payload: object, *, idempotency_key: str | None = None, using: str | None = None
) -> str:
    """
    Publish an event and return its id (32 hex digits).

    `payload` is a mapping, or an instance of the topic's dataclass. Inside a transaction of the database
    `using` (default: "default") the event reaches Redis on commit, and never after a rollback. It costs
    one job whatever the audience: a worker tells the subscribers. Two calls for one topic with the same key
    within 24 hours publish one event. Raises UnknownTopic, InvalidPayload or InvalidIdempotencyKey before
    anything is queued.
    """
    signal = get_topic(topic)
    checked = signal.validate(payload)
    key = None if idempotency_key is None else f"event:{signal.name}:{valid_key(idempotency_key)}"
    event_id = fresh_id(key, {"topic": signal.name, "payload": checked})
    event = Event(id=event_id, topic=signal.name, payload=checked, published_at=datetime.now(UTC))
    settings = get_settings()
    job = NewJob(
        id=event.id,
        queue=EVENT_QUEUE,
        function=DISPATCH_EVENT,
        arguments={"event": event.as_json()},
        attempts=settings.attempts,
        backoff=settings.backoff,
        label=event.topic,
        keyed=key is not None,
    )
    submit([job], using=using)
    return event.id
