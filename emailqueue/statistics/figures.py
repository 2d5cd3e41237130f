"""The figures of one moment for programs, how that moment is read, and which program may read it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from emailqueue.conf import get_settings
from emailqueue.flow import limit_in, outages_in, paused_in
from emailqueue.models import DeadLetter
from emailqueue.redis import connect
from emailqueue.statistics.panels import panels_of
from emailqueue.statistics.snapshot import Period, Snapshot
from emailqueue.store import NOW, Store

COUNTED = 10_000
"""Open dead letters that are counted; above, it says "more than"."""


def take() -> Snapshot:
    """Read all figures of Redis. Raises redis.RedisError, RedisUnavailable or OSError."""
    return Snapshot.take(Store(connect()))


def open_dead_letters(snapshot: Snapshot) -> int:
    """Return how many dead letters are open: at most COUNTED + 1 in the database, and those on their way there."""
    return DeadLetter.objects.open().order_by()[: COUNTED + 1].count() + snapshot.counts.inbox


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return the figures for programs."""
    limit = limit_in(snapshot.counts.flow, get_settings())
    dead_letters = open_dead_letters(snapshot)
    return {
        "at": _iso(snapshot.now),
        "queues": {
            queue: {name: snapshot.counts.queues[queue][name] for name in NOW} | {"oldest_seconds": oldest}
            for queue, oldest in snapshot.oldest.items()
        },
        "dead_letters": {"open": dead_letters, "more": dead_letters > COUNTED},
        "latency": {"p50": snapshot.latency(0.5), "p95": snapshot.latency(0.95)},
        "rate": {"sent_per_second": snapshot.rate, "limit_per_second": limit.rate},
        "suspended": snapshot.suspended,
        "paused": list(paused_in(snapshot.counts.flow)),
        "outages": {server: since.isoformat() for server, since in outages_in(snapshot.counts.flow).items()},
        "throttled": {domain: _iso(at) for domain, at in snapshot.counts.throttled.items()},
        "minutes": _series(snapshot.minutes),
        "hours": _series(snapshot.hours),
        "panels": {name: panel.as_json() for name, panel in panels_of(snapshot).items()},
    }


def has_token(request: HttpRequest) -> bool:
    """Return whether the request brings the token of EMAIL_QUEUE["STATS_TOKEN"], as programs that are not staff do."""
    token = get_settings().stats_token
    scheme, _space, sent = request.headers.get("Authorization", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and constant_time_compare(sent.strip(), token)


def _series(periods: Sequence[Period]) -> list[dict[str, Any]]:
    return [
        {"at": _iso(period.begins), "sent": period.sent, "retried": period.retried, "dead": period.dead}
        for period in periods
    ]


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
