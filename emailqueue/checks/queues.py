"""Whether mail moves: workers, what is late, and what holds it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from emailqueue.checks.finding import Finding, error, ok, warning
from emailqueue.conf import Settings
from emailqueue.flow import outages_in, paused_in
from emailqueue.jobs.priority import EMAIL_QUEUES, EVENT_QUEUE, QUEUES, Priority
from emailqueue.statistics.presence import is_fresh
from emailqueue.statistics.snapshot import Snapshot

START = "manage.py rqworker critical high normal low events"
WAY_OUT = f"Start one: {START}"
LATE = 60.0
"""Seconds after its time from which on a scheduled mail is overdue."""
CRITICAL_SLOW, CRITICAL_STUCK = 60.0, 600.0
"""Seconds that a critical mail waits until that is a warning, and an error."""


def workers(snapshot: Snapshot, settings: Settings) -> Iterator[Finding]:
    """Count the workers of each queue that are alive."""
    alive = [worker for worker in snapshot.workers if is_fresh(worker.heartbeat, settings)]
    count = {queue: sum(queue in worker.queues.split(",") for worker in alive) for queue in QUEUES}
    waits = {queue: snapshot.counts.now[queue][0] + snapshot.counts.now[queue][2] for queue in QUEUES}
    mails = sum(waits[queue] for queue in EMAIL_QUEUES)
    nobody = not any(count[queue] for queue in EMAIL_QUEUES)
    if nobody:
        yield error(
            "workers", "none", f"No worker takes mail{f', of which {mails} jobs wait' if mails else ''}.", WAY_OUT
        )
    for queue in QUEUES:
        if count[queue] or (queue in EMAIL_QUEUES and nobody):
            continue
        if waits[queue]:
            text = f"No worker takes the queue {queue!r}, in which {waits[queue]} jobs wait."
            yield error("workers", "queue", text, WAY_OUT)
        elif queue != EVENT_QUEUE:
            yield warning("workers", "queue", f"No worker takes the queue {queue!r}.", WAY_OUT)
    if silent := len(snapshot.workers) - len(alive):
        yield warning(
            "workers",
            "silent",
            f"{silent} workers have told nothing for long.",
            "They were killed, and Redis forgets them within minutes; or they hang: read their logs.",
        )
    if alive:
        told = ", ".join(f"{queue} {count[queue]}" for queue in QUEUES)
        yield ok("workers", "alive", f"{len(alive)} workers are alive; by queue: {told}.")


def scheduled(overdue: Mapping[str, int], snapshot: Snapshot) -> Iterator[Finding]:
    """Look for mails whose time has come and which no worker has taken. Those of paused queues wait rightly."""
    paused = paused_in(snapshot.counts.flow)
    late = {queue: number for queue, number in overdue.items() if number and queue not in paused}
    if late:
        yield error(
            "scheduled",
            "late",
            f"{sum(late.values())} scheduled jobs are more than {LATE:g} s late, in {', '.join(late)}.",
            f"Start a worker, or look in its log why it claims nothing: {START}",
        )
    else:
        yield ok(
            "scheduled",
            "in-time",
            f"No scheduled job is late; {sum(now[2] for now in snapshot.counts.now.values())} wait.",
        )


def critical(snapshot: Snapshot) -> Iterator[Finding]:
    """Tell how long the first critical mail has waited. While its queue is paused it waits rightly."""
    queue = Priority.CRITICAL.queue
    age = None if queue in paused_in(snapshot.counts.flow) else snapshot.oldest[queue]
    if age is None or age < CRITICAL_SLOW:
        yield ok(
            "critical",
            "in-time",
            "No critical mail waits for a worker." if age is None else f"The oldest critical mail waits {age:.0f} s.",
        )
        return
    text = f"The oldest critical mail has waited for {age:,.0f} s."
    way_out = "See below or above what holds it: no worker, a pause, an outage, or a rate limit that is too low."
    yield (
        error("critical", "waits", text, way_out)
        if age >= CRITICAL_STUCK
        else warning("critical", "waits", text, way_out)
    )


def pauses(snapshot: Snapshot) -> Iterator[Finding]:
    """Tell what staff hold back."""
    if snapshot.suspended:
        yield error("pauses", "suspended", "RQ's suspension holds all workers back.", "Run: manage.py rqresume")
    paused = paused_in(snapshot.counts.flow)
    if paused:
        yield warning(
            "pauses",
            "paused",
            f"Paused: {', '.join(paused)}.",
            f"When they may go on: manage.py emailqueue resume {' '.join(paused)}",
        )
    elif not snapshot.suspended:
        yield ok("pauses", "none", "No queue is paused.")


def outage(snapshot: Snapshot) -> Iterator[Finding]:
    """Tell which mail servers workers find away."""
    outages = outages_in(snapshot.counts.flow)
    for server, since in outages.items():
        minutes = (datetime.fromtimestamp(snapshot.now, UTC) - since).total_seconds() / 60
        yield error(
            "outage",
            "away",
            f"Workers find the mail server {server} away, for {minutes:.0f} minutes; mail waits and is charged no try.",
            "The finding about the mail server tells why, or the log of a worker. It goes on by itself.",
        )
    slowed = list(snapshot.counts.throttled)
    if slowed:
        shown = ", ".join(slowed[:5])
        yield warning(
            "outage",
            "slowed",
            f"{len(slowed)} domains ask us to go slower: {shown}.",
            "It goes on by itself; a lower limit helps: manage.py emailqueue limit 5/s",
        )
    if not outages:
        yield ok("outage", "none", "Workers find no mail server away.")
