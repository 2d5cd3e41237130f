"""Whether mail moves: workers, what is late, and what keeps it from going out."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from django.core.checks import CheckMessage, Error, Info, Warning

from emailqueue.conf import get_settings
from emailqueue.flow import outages_in, paused_in
from emailqueue.jobs.priority import EMAIL_QUEUES, EVENT_QUEUE, QUEUES, Priority
from emailqueue.statistics.snapshot import Snapshot

CRITICAL_SLOW, CRITICAL_STUCK = 60.0, 600.0
"""Seconds that a critical mail waits until that is a warning, and an error."""


def workers(snapshot: Snapshot) -> Iterator[CheckMessage]:
    """Count the workers of each queue that are alive."""
    alive = snapshot.alive
    count = {queue: sum(queue in worker.queues.split(",") for worker in alive) for queue in QUEUES}
    yield from _unserved(count, snapshot)
    if silent := len(snapshot.workers) - len(alive):
        text = f"{silent} workers have not reported for some time."
        hint = "They were killed, and Redis forgets them within minutes; or they hang: read their logs."
        yield Warning(text, hint=hint, id="workers.silent")
    if alive:
        by_queue = ", ".join(f"{queue} {count[queue]}" for queue in QUEUES)
        yield Info(f"{len(alive)} workers are alive; by queue: {by_queue}.", id="workers.alive")


def _unserved(count: Mapping[str, int], snapshot: Snapshot) -> Iterator[CheckMessage]:
    now = {queue: snapshot.counts.of(queue) for queue in QUEUES}
    waits = {queue: figures.waiting + figures.delayed for queue, figures in now.items()}
    nobody = not any(count[queue] for queue in EMAIL_QUEUES)
    if nobody:
        mails = sum(waits[queue] for queue in EMAIL_QUEUES)
        text = f"No worker takes mail{f', of which {mails} jobs wait' if mails else ''}."
        yield Error(text, hint=f"Start one: {_start()}", id="workers.none")
    for queue in QUEUES:
        if count[queue] or (queue in EMAIL_QUEUES and nobody):
            continue
        if waits[queue]:
            text = f"No worker takes the queue {queue!r}, in which {waits[queue]} jobs wait."
            yield Error(text, hint=f"Start one: {_start()}", id="workers.queue")
        elif queue != EVENT_QUEUE:
            yield Warning(f"No worker takes the queue {queue!r}.", hint=f"Start one: {_start()}", id="workers.queue")


def scheduled(snapshot: Snapshot) -> Iterator[CheckMessage]:
    """Look for mails whose time has come and which no worker has taken. Those of paused queues wait rightly."""
    paused = paused_in(snapshot.counts.flow)
    late = {queue: number for queue, number in snapshot.late.items() if number and queue not in paused}
    if late:
        text = f"{sum(late.values())} scheduled jobs are more than 60 s late, in {', '.join(late)}."
        hint = f"Start a worker, or look in its log why it claims nothing: {_start()}"
        yield Error(text, hint=hint, id="scheduled.late")
    else:
        wait = snapshot.counts.of(*QUEUES).delayed
        yield Info(f"No scheduled job is late; {wait} wait.", id="scheduled.in-time")


def critical(snapshot: Snapshot) -> Iterator[CheckMessage]:
    """Report how long the first critical mail has waited. While its queue is paused it waits rightly."""
    queue = Priority.CRITICAL.queue
    age = None if queue in paused_in(snapshot.counts.flow) else snapshot.oldest[queue]
    if age is None:
        yield Info("No critical mail waits for a worker.", id="critical.in-time")
    elif age < CRITICAL_SLOW:
        yield Info(f"The oldest critical mail waits {age:.0f} s.", id="critical.in-time")
    else:
        late = Error if age >= CRITICAL_STUCK else Warning
        hint = "The other findings may name the cause: no worker, a pause, an outage; or the rate limit is too low."
        yield late(f"The oldest critical mail has waited for {age:,.0f} s.", hint=hint, id="critical.waits")


def pauses(snapshot: Snapshot) -> Iterator[CheckMessage]:
    """Report what staff have paused."""
    if snapshot.suspended:
        text = "RQ is suspended: no worker takes a job."
        yield Error(text, hint="Run: manage.py rqresume", id="pauses.suspended")
    if paused := paused_in(snapshot.counts.flow):
        hint = f"When they may go on: manage.py emailqueue resume {' '.join(paused)}"
        yield Warning(f"Paused: {', '.join(paused)}.", hint=hint, id="pauses.paused")
    elif not snapshot.suspended:
        yield Info("No queue is paused.", id="pauses.none")


def outage(snapshot: Snapshot) -> Iterator[CheckMessage]:
    """Report which mail servers are away, as workers find them, and which domains are throttled."""
    outages = outages_in(snapshot.counts.flow)
    for server, since in outages.items():
        minutes = (datetime.fromtimestamp(snapshot.now, UTC) - since).total_seconds() / 60
        yield Error(
            f"Workers find the mail server {server} away, for {minutes:.0f} minutes; mail waits, and no attempt is "
            "charged.",
            hint="The finding about the mail server, or the log of a worker, has the reason. It goes on by itself.",
            id="outage.away",
        )
    if throttled := list(snapshot.counts.throttled):
        text = f"{len(throttled)} domains ask us to go slower: {', '.join(throttled[:5])}."
        hint = "It goes on by itself; a lower limit helps: manage.py emailqueue limit 5/s"
        yield Warning(text, hint=hint, id="outage.slowed")
    if not outages:
        yield Info("Workers find no mail server away.", id="outage.none")


def _start() -> str:
    return f"manage.py rqworker {' '.join(get_settings().by_rq_name)}"
