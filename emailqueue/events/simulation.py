"""
What publishing an event would do: the subscribers are run, here and now, and what they queue is only listed.

What they write into databases is rolled back. What else they do, such as calling another service, is real.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connections, transaction

from emailqueue.enqueue.staging import Staging
from emailqueue.events.dispatch import DISPATCH_EVENT, subscriber_job
from emailqueue.events.event import Event
from emailqueue.events.recording import Result, describe_error
from emailqueue.events.subscribers import Subscriber, subscribers_of
from emailqueue.events.topics import Topic, get_topic
from emailqueue.jobs.job import NewJob, new_id

MOST_EVENTS = 20
"""Events that one simulation follows, when subscribers publish further ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedJob:
    """A mail that would be queued, or an event that would be published."""

    type: str
    """The e-mail type; of an event its topic."""

    to: str
    """The address; empty for an event."""

    queue: str
    due: str
    """As NewJob.due."""

    context: Mapping[str, Any]
    """Of the mail; of an event its payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    topic: str
    subscriber: str
    result: Result
    reason: str
    """Why it would be skipped, or the error; empty when it ran."""

    queued: Sequence[SimulatedJob]


def simulate(topic: str | Topic, payload: object) -> list[SimulatedRun]:
    """
    Return what each subscriber would do about such an event, and about those that subscribers publish in turn.

    Each is called once. Nothing reaches Redis or the outbox. Raises UnknownTopic or InvalidPayload.
    """
    signal = get_topic(topic)
    first = Event(id=new_id(), topic=signal.name, payload=signal.validate(payload), published_at=datetime.now(UTC))
    runs: list[SimulatedRun] = []
    events = [first]
    for event in events:  # which grows meanwhile
        for subscriber in subscribers_of(get_topic(event.topic)).values():
            run, published = _run(subscriber, event)
            runs.append(run)
            events += published[: MOST_EVENTS - len(events)]
    return runs


def _run(subscriber: Subscriber, event: Event) -> tuple[SimulatedRun, list[Event]]:
    staging = Staging(subscriber_job(event, subscriber).id)
    try:
        with staging.collecting(), _undone():
            reason = subscriber.take(event)
        result, queued = Result.SKIPPED if reason else Result.RAN, staging.jobs
    except (Exception, SystemExit) as error:  # noqa: BLE001
        result, reason, queued = Result.FAILED, describe_error(error), []
    mails = [_simulated(job) for job in queued]
    run = SimulatedRun(topic=event.topic, subscriber=subscriber.name, result=result, reason=reason, queued=mails)
    published = [Event.parse(job.arguments["event"]) for job in queued if job.function == DISPATCH_EVENT]
    return run, published


@contextmanager
def _undone() -> Iterator[None]:
    """Roll back what is written within to any database, after what waits for the commit has been run."""
    with ExitStack() as stack:
        for alias in connections:
            block = transaction.atomic(using=alias)
            # As in Django's TestCase: a handler may want to be the outermost one, atomic(durable=True).
            block._from_testcase = True  # type: ignore[attr-defined] # noqa: SLF001 - not in the stubs
            stack.enter_context(block)
        earlier = {alias: len(connections[alias].run_on_commit) for alias in connections}
        yield
        while any(_run_hook(alias, after=waited) for alias, waited in earlier.items()):
            pass
        for alias in connections:
            transaction.set_rollback(True, using=alias)


def _run_hook(alias: str, *, after: int) -> bool:
    """Run the first thing that waits for the commit beyond the first `after`; False when there is none."""
    hooks: list[Any] = connections[alias].run_on_commit
    if len(hooks) <= after:
        return False
    _savepoints, hook, robust = hooks.pop(after)
    try:
        hook()
    except Exception:
        if not robust:
            raise
    return True


def _simulated(job: NewJob) -> SimulatedJob:
    event = job.arguments.get("event")
    to, context = job.arguments.get("to", ""), event["payload"] if event else job.arguments.get("context", {})
    return SimulatedJob(type=job.label, to=to, queue=job.queue, due=job.due, context=context)
