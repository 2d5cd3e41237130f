"""The figures of the e-mail queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from emailqueue.conf import get_settings
from emailqueue.flow import Limit, limit_in, outages_in, paused_in
from emailqueue.jobs.priority import EMAIL_QUEUES
from emailqueue.models import DeadLetter
from emailqueue.redis.problems import asking_redis
from emailqueue.store import QueueFigures, Store


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
    with asking_redis(effect="there are no figures") as connection:
        counts = Store(connection).counts()
    return QueueStats(
        main=counts.of(*EMAIL_QUEUES),
        dlq=DeadLetterFigures(count=DeadLetter.objects.open().count() + counts.inbox),
        queues={queue: counts.of(queue) for queue in EMAIL_QUEUES},
        limit=limit_in(counts.flow, get_settings()),
        paused=paused_in(counts.flow),
        outages=outages_in(counts.flow),
        throttled={domain: datetime.fromtimestamp(moment, tz=UTC) for domain, moment in counts.throttled.items()},
    )
