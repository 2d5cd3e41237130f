from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from emailqueue.admin.dead_letters import DeadLetterAdmin
from emailqueue.conf import Settings
from emailqueue.models import DeadLetter
from emailqueue.signals import dead_lettered
from emailqueue.statistics.panels import _makers
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "review.md").read_text()


@pytest.fixture
def example() -> Iterator[dict[str, Any]]:
    """What the Python blocks of the page define, run as one module."""
    before = dict(_makers)
    names: dict[str, Any] = {"__name__": "docs"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)  # noqa: S102 - our own page
    yield names
    dead_lettered.disconnect(names["note"])
    _makers.clear()
    _makers.update(before)


def test_the_examples_of_the_page_work(
    example: dict[str, Any], valkey: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    valkey.rpush("rq:queue:low", "a", "b")
    snapshot = Snapshot.take(Store(valkey))

    panel = _makers["backlog"](snapshot)
    dead_lettered.send(DeadLetter, dead_letter=DeadLetter(label="offer", reason="permanent"))

    assert panel.rows == [(2, 0)]
    assert capsys.readouterr().out == "offer permanent\n"
    assert example["OFFER"].stale_after.days == 2


def test_the_page_names_every_permission_and_setting_that_there_is() -> None:
    assert all(f"`{codename}`" in PAGE for codename, _title in DeadLetter._meta.permissions)
    assert all(f'EMAIL_QUEUE["{key}"]' in PAGE for key in ("BULK_RATE", "STATS_TOKEN", "ALERTS"))
    assert {"bulk_rate", "stats_token", "alerts"} <= Settings.__dataclass_fields__.keys()
    names = [getattr(action, "__name__", "") for action in DeadLetterAdmin.actions]
    assert names == ["retry", "discard", "export_csv", "export_json"]
