"""The doctor, called as a person calls it, and what it found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from django.core.checks import CheckMessage
from django.core.management import call_command
from redis import Redis

from emailqueue.conf import Settings as QueueSettings
from emailqueue.jobs.job import timestamp

OFF = QueueSettings(frontend_url="https://front.example")


def doctor(*words: str) -> tuple[int, str]:
    """Run the command and return its exit status and what it printed."""
    out = StringIO()
    try:
        call_command("emailqueue", "doctor", *words, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def found() -> dict[str, list[Mapping[str, Any]]]:
    """Return the findings of `doctor --json` by the part that they are about."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for finding in json.loads(doctor("--json")[1])["findings"]:
        parts.setdefault(finding["part"], []).append(finding)
    return parts


def levels(findings: Iterable[CheckMessage]) -> list[int]:
    return [finding.level for finding in findings]


def a_worker(valkey: Redis, *, heard: float = 1, queues: str = "critical,high,normal,low,events") -> None:
    """Write what RQ keeps of a worker."""
    moment = timestamp(datetime.now(UTC) - timedelta(seconds=heard))
    valkey.sadd("rq:workers", "rq:worker:ada")
    valkey.hset("rq:worker:ada", mapping={"queues": queues, "last_heartbeat": moment, "state": "idle"})
