"""Which times are taken, and how they are written."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from emailqueue.enqueue.call import due
from emailqueue.errors import (
    InvalidTime,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, ""),
        ({"delay": 0}, ""),
        ({"delay": 1.5}, "+1.500000"),
        ({"delay": timedelta(minutes=1)}, "+60.000000"),
        ({"at": NOON}, "1893499200.000000"),
        ({"at": NOON.astimezone(timezone(timedelta(hours=5)))}, "1893499200.000000"),
        ({"at": datetime(1969, 12, 31, tzinfo=UTC)}, "-86400.000000"),
    ],
)
def test_a_due_time_is_written_for_redis(times: dict[str, Any], expected: str) -> None:
    written = due(**times)

    assert written == expected


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("hours", [-12, 12])
def test_the_ends_of_time_are_times(year: int, hours: int) -> None:
    last_in_utc = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 12, tzinfo=UTC)

    written = due(at=last_in_utc.replace(tzinfo=timezone(timedelta(hours=hours))))

    assert math.isfinite(float(written))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"at": datetime(2030, 1, 1)}, "make_aware"),  # noqa: DTZ001 - naive on purpose
        ({"at": "2030-01-01"}, "aware datetime"),
        ({"at": NOON.date()}, "aware datetime"),
        ({"delay": -0.1}, "0 or more"),
        ({"delay": timedelta(seconds=-1)}, "0 or more"),
        ({"delay": math.nan}, "0 or more"),
        ({"delay": math.inf}, "0 or more"),
        ({"delay": True}, "0 or more"),
        ({"delay": "5"}, "0 or more"),
        ({"delay": 5, "at": NOON}, "one of them"),
    ],
)
def test_what_is_no_time_is_refused(times: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTime, match=words):
        due(**times)
