"""Whether the queue's Redis can carry it."""

import inspect
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Info, Warning, register
from django.core.exceptions import ImproperlyConfigured

from emailqueue.conf import Settings
from emailqueue.redis.report import RedisReport, describe_redis

SLOW = 20.0
"""Milliseconds of a round trip from which on it is worth a warning: a worker needs some for each mail."""


@register("emailqueue", "redis")
def check_redis(**kwargs: Any) -> list[CheckMessage]:
    """Connect to Redis and report what it is; only by `manage.py check --tag redis`."""
    if not _is_named("redis"):
        return []
    try:
        report = describe_redis()
    except ImproperlyConfigured:
        return []  # check_rq_queues has the reason
    if report.latency is None:
        return list(report.problems)
    return [Info(str(report), id="emailqueue.I001"), *report.problems]


def redis(report: RedisReport, settings: Settings) -> Iterator[CheckMessage]:
    """Report version, persistence, eviction policy and latency, and what is wrong with them."""
    if report.latency is not None:
        yield Info(str(report), id="redis.answers")
    yield from report.problems
    if report.persistence == "snapshots only" and settings.outbox != "always":
        yield Warning(
            f"{report.server} keeps snapshots only: mails queued since the last one are lost when it crashes.",
            hint='Set "appendonly yes" in its configuration, or EMAIL_QUEUE[\'OUTBOX\'] = "always".',
            id="redis.snapshots",
        )
    if report.latency is not None and report.latency > SLOW:
        yield Warning(
            f"Redis answers in {report.latency:.0f} ms, which slows each request that queues a mail, and each worker.",
            hint="Run it near the web and the workers: in the same region, better in the same network.",
            id="redis.slow",
        )


def _is_named(tag: str) -> bool:
    # Django hands the tags to no check, so they are read where run_checks() keeps them. Without that, every
    # `runserver` and `migrate` would connect to Redis.
    frame = inspect.currentframe()
    check = frame and frame.f_back
    runner = check and check.f_back
    return bool(runner and tag in (runner.f_locals.get("tags") or ()))
