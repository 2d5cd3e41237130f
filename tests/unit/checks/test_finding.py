"""How findings are weighed."""

from __future__ import annotations

from django.core.checks import ERROR, INFO, WARNING, CheckMessage

from emailqueue.management.verbs.doctor import worst


def test_the_worst_finding_counts() -> None:
    good, odd, bad = (CheckMessage(level, "", id="redis.answers") for level in (INFO, WARNING, ERROR))

    assert [worst(each) for each in ([], [good], [good, odd], [bad, odd])] == ["ok", "ok", "warning", "error"]
