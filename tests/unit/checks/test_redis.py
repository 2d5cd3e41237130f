"""What the doctor says of a Redis."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import INFO, WARNING

from emailqueue.checks.redis import redis as examine_redis
from emailqueue.conf import Settings as QueueSettings
from emailqueue.redis.report import RedisReport
from tests.support.doctor import levels


@pytest.mark.parametrize(
    ("facts", "outbox", "expected"),
    [
        ({"persistence": "append-only file on", "latency": 0.3}, "failover", [INFO]),
        ({"persistence": "snapshots only", "latency": 0.3}, "failover", [INFO, WARNING]),
        ({"persistence": "snapshots only", "latency": 0.3}, "always", [INFO]),
        ({"persistence": "append-only file on", "latency": 80.0}, "failover", [INFO, WARNING]),
    ],
)
def test_a_redis_that_forgets_or_is_far_is_warned_of(facts: dict[str, Any], outbox: Any, expected: list[int]) -> None:
    report = RedisReport(variable="REDIS_URL", address="redis://h", **facts)

    findings = examine_redis(report, QueueSettings(outbox=outbox))

    assert levels(findings) == expected
