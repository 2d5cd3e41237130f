"""How one event becomes one job for each of its subscribers."""

from __future__ import annotations

from emailqueue.jobs import Job, Run, job_function
from emailqueue.outcome import SENT, Outcome
from emailqueue.redis import connect
from emailqueue.store import Store
from events.event import Event
from events.subscribers import subscriber_job, subscribers_of
from events.topics import get_topic


@job_function
def dispatch(job: Job, _run: Run) -> Outcome:
    """
    Queue a job for each subscriber of an event, all at once; none is done with.

    Run again, it adds nothing twice, since the ids of these jobs follow from event and subscriber. A topic
    that this worker does not know is tried again: a newer worker may.
    """
    event = Event.parse(job.arguments()["event"])
    subscribers = subscribers_of(get_topic(event.topic))
    if subscribers:
        jobs = [subscriber_job(event, name, receiver) for name, receiver in subscribers.items()]
        Store(connect()).enqueue(jobs)
    return SENT
