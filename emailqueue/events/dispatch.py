"""How one event becomes one job for each of its subscribers."""

from __future__ import annotations

from emailqueue.enqueue.submit import submit
from emailqueue.events.errors import UnknownTopic
from emailqueue.events.event import Event
from emailqueue.events.recording import DISPATCH, Result, describe_error, record
from emailqueue.events.subscribers import subscriber_job
from emailqueue.events.subscriptions import subscribers_of
from emailqueue.events.topics import get_topic
from emailqueue.jobs.ends import End
from emailqueue.jobs.functions import Run, event_function
from emailqueue.jobs.job import Job
from emailqueue.jobs.outcome import SENT, Outcome

DISPATCH_EVENT = "emailqueue.events.dispatch"


@event_function(DISPATCH_EVENT)
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
    jobs = [subscriber_job(event, name, receiver) for name, receiver in subscribers.items()]
    submit(jobs)
    record(event, DISPATCH, job, result=Result.RAN, queued=jobs)
    return SENT
