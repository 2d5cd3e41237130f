"""How one event becomes one job for each of its subscribers."""

from __future__ import annotations

from emailqueue.jobs import Job, Run, job_function
from emailqueue.outcome import SENT, Outcome
from emailqueue.submit import submit
from events.event import Event
from events.subscribers import subscriber_job, subscribers_of
from events.topics import get_topic


@job_function
def dispatch(job: Job, _run: Run) -> Outcome:
    """
    Queue a job for each subscriber of an event; they become visible, all at once, when this job is settled.

    A topic that this worker does not know is tried again: a newer worker may.
    """
    event = Event.parse(job.arguments()["event"])
    subscribers = subscribers_of(get_topic(event.topic))
    submit([subscriber_job(event, name, receiver) for name, receiver in subscribers.items()])
    return SENT
