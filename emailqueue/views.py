"""
What probes ask of the web: whether it lives, and whether it can queue a mail.

Both answer without login, show nothing secret, and are never cached. A project routes them itself:

    path("alive/", emailqueue.views.alive), path("health/", emailqueue.views.health)

The third, metrics, needs the extra `prometheus`; see emailqueue.statistics.prometheus.
"""

import logging

from django.db import DatabaseError
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.enqueue.submit import absence
from emailqueue.errors import RedisUnavailable
from emailqueue.models import OutboxRow
from emailqueue.redis import connect
from emailqueue.redis.report import write_a_key

logger = logging.getLogger(__name__)


@never_cache
@require_safe
@non_atomic_requests
def alive(_request: HttpRequest) -> HttpResponse:
    """Answer that this process serves requests. It asks no server, so that an outage restarts no web process."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
@non_atomic_requests
def health(_request: HttpRequest) -> HttpResponse:
    """
    Answer 200 when a request can queue a mail now, else 503.

    That needs the database, and Redis or else the outbox, in which mail waits for Redis. It hangs for at most a second
    when Redis hangs, and for the database's own time-out when the database does: set one, as docs/operations.md shows.
    """
    database, redis, outbox = _database(), _redis(), get_settings().outbox
    ready = database and (redis or outbox != "off")
    answer = {
        "status": "ready" if ready else "not ready",
        "database": "ok" if database else "away",
        "redis": "ok" if redis else "away",
        "mail": ("queued" if redis else "kept in the outbox") if ready else "refused",
    }
    return JsonResponse(answer, status=200 if ready else 503)


def _database() -> bool:
    try:
        OutboxRow.objects.exists()  # which asks for the table, too
    except DatabaseError as error:
        logger.warning("database is away", extra={"error_class": type(error).__name__})
        return False
    return True


def _redis() -> bool:
    if absence.lasts():  # a request has just waited for it in vain
        return False
    try:
        write_a_key(connect())
    except (RedisError, RedisUnavailable, OSError) as error:
        logger.warning("redis is away", extra={"error_class": type(error).__name__})
        return False
    return True


@non_atomic_requests
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all figures, for Prometheus."""
    from emailqueue.statistics import prometheus  # needs the extra

    return prometheus.metrics(request)
