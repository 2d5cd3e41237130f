"""The figures of the e-mail queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.flow import Limit, limit_in, outages_in, paused_in
from emailqueue.jobs.priority import EMAIL_QUEUES
from emailqueue.models import DeadLetter
from emailqueue.redis import connect
from emailqueue.redis.problems import unavailable
from emailqueue.store import Counts, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """Figures of one queue, or of several together."""

    waiting: int
    """Jobs that wait for a worker, now."""

    active: int
    """Jobs that a worker has, now."""

    delayed: int
    """Jobs that wait for their time or for a retry, now."""

    completed: int
    """Mails sent since counting began."""

    skipped: int = 0
    """Mails since counting began that were not sent, since their recipients get no mails of their types any more."""

    failed: int
    """Jobs that became dead letters since counting began."""

    ambiguous: int
    """Mails since counting began that may have been sent when a worker or a connection died."""

    retried: int
    """Attempts since counting began that failed and were followed by another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFigures:
    """Figures of the dead letter queue."""

    count: int
    """Open dead letters, including those that are still on their way into the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """What get_queue_stats() returns."""

    main: QueueFigures
    """The four mail queues together."""

    dlq: DeadLetterFigures
    queues: Mapping[str, QueueFigures]
    """Each mail queue by its name: critical, high, normal, low."""

    limit: Limit
    """The rate limit in force."""

    paused: tuple[str, ...]
    """Queues that are paused, "events" among them if it is."""

    outages: Mapping[str, datetime]
    """Mail servers that are away, and since when."""

    throttled: Mapping[str, datetime]
    """Domains that asked us to go slower, and when the next of their mails is tried; 100 at most."""


def get_queue_stats() -> QueueStats:
    """
    Return the figures of the mail queues: one round trip to Redis and one query.

    Raises RedisUnavailable.
    """
    try:
        counts = Store(connect()).counts()
    except (RedisError, OSError) as error:
        raise unavailable(error, effect="there are no figures") from error
    return QueueStats(
        main=figures_of(counts, *EMAIL_QUEUES),
        dlq=DeadLetterFigures(count=DeadLetter.objects.open().count() + counts.inbox),
        queues={queue: figures_of(counts, queue) for queue in EMAIL_QUEUES},
        limit=limit_in(counts.flow, get_settings()),
        paused=paused_in(counts.flow),
        outages=outages_in(counts.flow),
        throttled={domain: datetime.fromtimestamp(moment, tz=UTC) for domain, moment in counts.throttled.items()},
    )


def figures_of(counts: Counts, *queues: str) -> QueueFigures:
    """Return the figures of `queues` together."""
    waiting, active, delayed = (sum(column) for column in zip(*(counts.now[queue] for queue in queues), strict=True))
    since = {
        what: sum(counts.counters.get(f"{queue}:{what}", 0) for queue in queues)
        for what in ("completed", "skipped", "failed", "ambiguous", "retried")
    }
    return QueueFigures(waiting=waiting, active=active, delayed=delayed, **since)
