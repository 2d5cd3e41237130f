"""How one subscriber is run for one event."""

from __future__ import annotations

from dataclasses import replace

from emailqueue.conf import get_settings
from emailqueue.enqueue.staging import present_staging
from emailqueue.events.asynchronous import awaited
from emailqueue.events.errors import MissingSubscriber
from emailqueue.events.event import Event
from emailqueue.events.recording import Result, describe_error, record
from emailqueue.events.subscriptions import Subscription, subscribers_of
from emailqueue.events.topics import Receiver, Topic, get_topic
from emailqueue.jobs.ends import End
from emailqueue.jobs.functions import Run, event_function
from emailqueue.jobs.job import Job, NewJob, new_id
from emailqueue.jobs.outcome import SENT, Outcome

RUN_SUBSCRIBER = "emailqueue.events.run_subscriber"
ARROW = " → "
"""Between topic and subscriber in the label of a subscriber's job."""


def subscriber_job(event: Event, name: str, receiver: Receiver) -> NewJob:
    """Return the job that runs one subscriber for one event; its id is the same each time it is made."""
    settings = get_settings()
    plan = receiver if isinstance(receiver, Subscription) else Subscription(name=name, handler=receiver)
    return NewJob(
        id=new_id(f"subscriber:{event.id}:{name}"),
        queue=plan.queue,
        function=RUN_SUBSCRIBER,
        arguments={"event": event.as_json(), "subscriber": name},
        attempts=plan.attempts or settings.attempts,
        backoff=plan.backoff or settings.backoff,
        label=f"{event.topic}{ARROW}{name}",
    )


@event_function(RUN_SUBSCRIBER)
def run_subscriber(job: Job, _run: Run) -> Outcome:
    """Call one subscriber with one event. What it raises is a failed attempt."""
    arguments = job.arguments()
    event, name = Event.parse(arguments["event"]), arguments["subscriber"]
    staging = present_staging()
    if staging:
        staging.cause = event.id
    try:
        skipped = _call(name, event)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        record(event, name, job, result=Result.FAILED, reason=describe_error(error))
        # All of it, also a RedisError: to the worker that would mean that its own Redis was away.
        return Outcome.failed(End.PERMANENT if isinstance(error, MissingSubscriber) else End.RETRY, error)
    if skipped:
        record(event, name, job, result=Result.SKIPPED, reason=skipped)
    else:
        record(event, name, job, result=Result.RAN, queued=staging.jobs if staging else ())
    return SENT


def _call(name: str, event: Event) -> str:
    topic = get_topic(event.topic)
    subscribers = subscribers_of(topic)
    if name not in subscribers:
        raise MissingSubscriber(
            f"{topic.name!r} has no subscriber {name!r} any more. It has {', '.join(subscribers) or 'none'}. "
            "Retry when it is connected again, or discard this letter."
        )
    return call_subscriber(subscribers[name], event, topic=topic)


def call_subscriber(receiver: Receiver, event: Event, *, topic: Topic) -> str:
    """Call a receiver with an event that it wants, and return why it does not; empty when it was called."""
    event = replace(event, payload=topic.schema.decode(event.payload))
    if isinstance(receiver, Subscription) and receiver.filter and (reason := receiver.filter.mismatch(event)):
        return reason
    awaited(receiver(signal=topic, sender=topic.payload, event=event))
    return ""
