"""What docs/events.md says is so: its examples run, its commands work, its tests exist."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields, make_dataclass
from datetime import date
from io import StringIO
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from redis import Redis

from emailqueue import email_types
from emailqueue.conf import Settings
from emailqueue.events import publish, subscribe_email
from emailqueue.events import topics as bus
from emailqueue.jobs.priority import EMAIL_QUEUES
from emailqueue.schema import Address
from tests.conftest import ROOT, Work

PAGE = (ROOT / "docs" / "events.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.fixture
def shop() -> Iterator[ModuleType]:
    """The module that all blocks of the page make together, in a process that has no topics but ours."""
    module = ModuleType("shop_of_the_docs")
    sys.modules[module.__name__] = module
    known, types = dict(bus._registry), dict(email_types._registry)
    connected = {topic: list(topic.receivers) for topic in known.values()}
    bus._registry.pop("order.shipped", None)  # another test has one, too
    yield module
    del sys.modules[module.__name__]
    for topic, receivers in connected.items():
        topic.receivers[:] = receivers
    for registry, before in ((bus._registry, known), (email_types._registry, types)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type] # each with its own


def test_the_examples_run_and_lead_to_the_mails_that_they_speak_of(shop: ModuleType, valkey: Redis, work: Work) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)

    for block in blocks:
        exec(compile(block, "docs/events.md", "exec"), shop.__dict__)  # noqa: S102 - our own page
    work("events")
    simulated = [run_line(line) for line in commands() if "simulate" in line]

    assert len(blocks) >= 6
    assert sorted(mails(valkey)) == [
        ("ada@example.com", "normal", "order-shipped"),
        *[("ada@example.com", "normal", "vote-confirmation")] * 2,
        ("mary@example.com", "low", "order-shipped"),
    ]
    assert "order-shipped · ada@example.com · normal" in simulated[0]


@pytest.mark.django_db
def test_the_commands_are_those_of_the_page(valkey: Redis) -> None:
    assert "vote.created" in run_line("python manage.py events list")
    with pytest.raises(CommandError, match="leads to no event"):
        run_line(next(line for line in commands() if "trace" in line))


def test_each_step_names_a_test_that_exists() -> None:
    life = PAGE.partition("## The life of an event")[2].partition("\n## ")[0]
    steps = re.split(r"^\d+\. ", life, flags=re.MULTILINE)[1:]

    named = [re.findall(r"`(test_\w+)`", step) for step in steps]

    assert len(steps) == 11
    assert all(named)
    assert [name for names in named for name in names if f"def {name}(" not in TESTS] == []


@pytest.mark.parametrize(("declared", "published"), [(str, "2031-05-04"), (date, date(2031, 5, 4))])
def test_a_date_or_its_text_in_the_payload_becomes_the_date_of_a_mail(
    valkey: Redis, work: Work, monkeypatch: pytest.MonkeyPatch, declared: type, published: object
) -> None:
    payload = make_dataclass("OrderDue", [("email", Address), ("due", declared)], frozen=True, kw_only=True)
    monkeypatch.setattr(bus, "_registry", dict(bus._registry))
    monkeypatch.setattr(email_types, "_registry", dict(email_types._registry))
    kind = email_types.register(email_types.EmailType(name="order-due", template="due.html", needed={"due": date}))
    topic = bus.Topic("order.due", payload=payload)
    subscribe_email(topic, kind, to="email")

    publish(topic, {"email": "ada@example.com", "due": published})
    work("events")

    assert list(mails(valkey)) == [("ada@example.com", "normal", "order-due")]


def test_the_table_of_settings_is_complete() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE, flags=re.MULTILINE)

    of_events = [field for field in fields(Settings) if field.name.startswith("event_")]
    assert rows == [(field.name.upper(), str(field.default)) for field in of_events]


def commands() -> list[str]:
    return re.findall(r"^    (python manage\.py .*)$", PAGE, flags=re.MULTILINE)


def run_line(line: str) -> str:
    out = StringIO()
    _python, _manage, *arguments = shlex.split(line)
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def mails(valkey: Redis) -> Iterator[tuple[str, str, str]]:
    for queue in EMAIL_QUEUES:
        ids: Any = valkey.lrange(f"rq:queue:{queue}", 0, -1)
        for job_id in ids:
            stored: Any = valkey.hgetall(f"rq:job:{job_id.decode()}")
            yield json.loads(stored[b"data"])[3]["to"], queue, stored[b"description"].decode()
