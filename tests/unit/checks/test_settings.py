"""What the doctor says of settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import ERROR, INFO, WARNING

from emailqueue.checks import links, time_outs
from emailqueue.conf import Settings as QueueSettings
from emailqueue.jobs.backoff import Backoff
from tests.support.doctor import levels


@pytest.mark.parametrize(
    ("url", "debug", "level"),
    [
        ("https://front.example", False, INFO),
        ("http://front.example", False, WARNING),
        ("http://localhost:3000", False, ERROR),
        ("https://127.0.0.1", False, ERROR),
        ("https://[::1]:3000", False, ERROR),
        ("https://10.0.0.7", False, ERROR),
        ("https://web", False, ERROR),
        ("http://localhost:3000", True, INFO),
    ],
)
def test_links_must_lead_somewhere_in_production(url: str, *, debug: bool, level: int) -> None:
    findings = links.frontend_url(QueueSettings(frontend_url=url), debug=debug)

    assert levels(findings) == [level]


@pytest.mark.parametrize(
    ("contradiction", "hint"),
    [
        ({"lease": 6.0}, "LEASE"),
        ({"send_timeout": 200.0}, "SEND_TIMEOUT"),
        ({"stats_interval": 300.0}, "STATS_INTERVAL"),
        ({"max_age": 60.0, "attempts": 6, "backoff": Backoff(delay=10, jitter=0.5)}, "MAX_AGE"),
    ],
)
def test_time_outs_that_contradict_one_another_are_told(contradiction: dict[str, Any], hint: str) -> None:
    findings = list(time_outs.time_outs(QueueSettings(**contradiction), mail_timeout=None))

    assert levels(findings) == [WARNING]
    assert f"EMAIL_QUEUE['{hint}']" in str(findings[0].hint)


def test_the_time_out_of_the_backend_counts_before_ours() -> None:
    findings = time_outs.time_outs(QueueSettings(), mail_timeout=200.0)

    assert levels(findings) == [WARNING]
