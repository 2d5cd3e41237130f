"""How one event becomes one job for each of its subscribers, and how such a job is run."""

from emailqueue.conf import get_settings
from emailqueue.enqueue.staging import present_staging
from emailqueue.enqueue.submit import submit
from emailqueue.errors import MissingSubscriber, UnknownTopic
from emailqueue.events.event import Event
from emailqueue.events.recording import DISPATCH, Result, describe_error, record
from emailqueue.events.subscribers import ARROW, Subscriber, subscribers_of
from emailqueue.events.topics import get_topic
from emailqueue.jobs.ends import End
from emailqueue.jobs.functions import Run, job_function
from emailqueue.jobs.job import Job, NewJob, new_id
from emailqueue.jobs.outcome import SENT, Outcome

DISPATCH_EVENT = "emailqueue.events.dispatch"
RUN_SUBSCRIBER = "emailqueue.events.run_subscriber"


@job_function(DISPATCH_EVENT, of_events=True)
def dispatch(job: Job, _run: Run) -> Outcome:
    """
    Queue a job for each subscriber of an event; they become visible, all at once, when this job is settled.

    A topic that this worker does not know is tried again: a newer worker may.
    """
    event = Event.parse(job.arguments()["event"])
    try:
        subscribers = subscribers_of(get_topic(event.topic))
    except UnknownTopic as error:
        record(event, DISPATCH, job, result=Result.FAILED, reason=describe_error(error))
        return Outcome.failed(End.RETRY, error)
    jobs = [subscriber_job(event, subscriber) for subscriber in subscribers.values()]
    submit(jobs)
    record(event, DISPATCH, job, result=Result.RAN, queued=jobs)
    return SENT


def subscriber_job(event: Event, subscriber: Subscriber) -> NewJob:
    """Return the job that runs one subscriber for one event; its id is the same each time it is made."""
    settings = get_settings()
    return NewJob(
        id=new_id(f"subscriber:{event.id}:{subscriber.name}"),
        queue=subscriber.queue,
        function=RUN_SUBSCRIBER,
        arguments={"event": event.as_json(), "subscriber": subscriber.name},
        attempts=subscriber.attempts or settings.attempts,
        backoff=subscriber.backoff or settings.backoff,
        label=f"{event.topic}{ARROW}{subscriber.name}",
    )


@job_function(RUN_SUBSCRIBER, of_events=True)
def run_subscriber(job: Job, _run: Run) -> Outcome:
    """Call one subscriber with one event. What it raises is a failed attempt."""
    arguments = job.arguments()
    event, name = Event.parse(arguments["event"]), arguments["subscriber"]
    staging = present_staging.get()
    if staging:
        staging.cause = event.id
    try:
        skipped = _subscriber(name, event).take(event)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        record(event, name, job, result=Result.FAILED, reason=describe_error(error))
        # All of it, also a RedisError: to the worker that would mean that its own Redis was away.
        return Outcome.failed(End.PERMANENT if isinstance(error, MissingSubscriber) else End.RETRY, error)
    result = Result.SKIPPED if skipped else Result.RAN
    record(event, name, job, result=result, reason=skipped, queued=staging.jobs if staging else ())
    return SENT


def _subscriber(name: str, event: Event) -> Subscriber:
    subscribers = subscribers_of(get_topic(event.topic))
    if name not in subscribers:
        raise MissingSubscriber(
            f"{event.topic!r} has no subscriber {name!r} any more. It has {', '.join(subscribers) or 'none'}. "
            "Retry when it is connected again, or discard this dead letter."
        )
    return subscribers[name]
