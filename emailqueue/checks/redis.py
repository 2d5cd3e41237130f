"""Whether the queue's Redis can carry it."""

from __future__ import annotations

from collections.abc import Iterator

from emailqueue.checks.finding import Finding, from_checks, ok, warning
from emailqueue.conf import Settings
from emailqueue.redis.report import RedisReport

SLOW = 20.0
"""Milliseconds of a round trip from which on it is worth a word: a worker needs some for each mail."""


def redis(report: RedisReport, settings: Settings) -> Iterator[Finding]:
    """Tell version, persistence, eviction policy and latency, and what is wrong with them."""
    if report.latency is not None:
        yield ok("redis", "answers", str(report))
    yield from from_checks("redis", report.problems)
    if report.persistence == "snapshots only" and settings.outbox != "always":
        yield warning(
            "redis",
            "snapshots",
            f"{report.server} keeps snapshots only: mails queued since the last one are lost when it crashes.",
            'Set "appendonly yes" in its configuration, or EMAIL_QUEUE[\'OUTBOX\'] = "always".',
        )
    if report.latency is not None and report.latency > SLOW:
        yield warning(
            "redis",
            "slow",
            f"Redis answers in {report.latency:.0f} ms, which slows each request that queues a mail, and each worker.",
            "Run it near the web and the workers: in the same region, better in the same network.",
        )
