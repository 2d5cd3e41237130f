"""docs/api.md, held against the code."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import pytest

import emailqueue
import emailqueue.testing
import events.emails
from emailqueue import Backoff, EmailType, Priority
from emailqueue.enqueue.call import Common, PerCall
from emailqueue.events import Event
from emailqueue.events.stats import EventStats, SubscriberStats, TopicStats
from emailqueue.flow import Limit
from emailqueue.models import Reason, Status
from emailqueue.statistics.stats import DeadLetterFigures, QueueStats
from emailqueue.store import QueueFigures
from tests.support.names import find, signature_of
from tests.support.tables import code, page, section, table

PAGE = page("api")
CALLS = {code(row[0])[0]: row for row in table(PAGE, "call", "returns", "does")}


def name_of(call: str) -> str:
    return call.partition("(")[0]


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_a_call_is_written_as_the_code_takes_it(call: str) -> None:
    told = ast.parse(f"def call({call.partition('(')[2][:-1]}): ...").body[0]
    assert isinstance(told, ast.FunctionDef)

    signature = signature_of(find(name_of(call)))

    assert ast.unparse(told.args) == ast.unparse(_without_types(signature))


def text_of(annotation: Any) -> str:
    """Return an annotation as the source has it."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)|~", "", text)


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_a_call_returns_what_the_page_says(call: str) -> None:
    called = find(name_of(call))
    returns = called.__name__ if inspect.isclass(called) else text_of(signature_of(called).return_annotation)

    assert (code(CALLS[call][1]) or ["Callable[[Handler], Handler]"]) == [returns]


def test_no_public_name_is_missing() -> None:
    told = {word.partition("(")[0].partition(".")[0] for word in code(PAGE.path.read_text())}
    headings = set(re.findall(r"(?m)^## (\w+)$", PAGE.path.read_text()))

    assert {*emailqueue.__all__, *events.__all__} <= told | headings
    kit = {f"emailqueue.testing.{name}" for name in emailqueue.testing.__all__}
    assert kit <= set(code(section(PAGE, "In tests")))


def test_the_options_of_a_call_are_those_of_the_code() -> None:
    told = [code(row[0])[0] for row in table(PAGE, "option", "default", "meaning")]

    assert sorted(told) == sorted(typing.get_type_hints(PerCall))
    assert set(told) - set(typing.get_type_hints(Common)) == {"delay", "at"}


@pytest.mark.parametrize("kind", [EmailType, Backoff], ids=lambda kind: kind.__name__)
def test_the_fields_of_a_value_are_those_of_the_code_with_their_defaults(kind: Any) -> None:
    rows = [
        re.split(r"\s*\|\s*", line)[1:3] for line in section(PAGE, kind.__name__).splitlines() if line.startswith("| `")
    ]
    told = {code(name)[0]: code(default) for name, default in rows}

    assert list(told) == [field.name for field in fields(kind)]
    for field in fields(kind):
        written = [_value(text) for text in told[field.name]]
        assert written == _default(field), field.name


@pytest.mark.parametrize("kind", [QueueStats, QueueFigures, Event, EventStats], ids=lambda kind: kind.__name__)
def test_the_fields_of_an_answer_are_those_of_the_code(kind: Any) -> None:
    told = re.findall(rf"(?m)^\| field of {kind.__name__} \| \w+ \|\n\|.*\|\n((?:\|.*\|\n)+)", PAGE.path.read_text())[0]

    names = [name for line in told.splitlines() for name in code(line.split(" | ")[0])]

    assert sorted(names) == sorted(field.name for field in fields(kind))


@pytest.mark.parametrize(
    ("kind", "heading"),
    [(DeadLetterFigures, "Figures"), (Limit, "Figures"), (TopicStats, "Events"), (SubscriberStats, "Events")],
)
def test_what_lies_within_an_answer_is_told(kind: Any, heading: str) -> None:
    assert is_dataclass(kind)
    told = set(code(section(PAGE, heading))) | {"subscribers"}  # told as "by subscriber"

    assert {field.name for field in fields(kind)} <= told


def test_the_built_in_types_are_those_of_the_code() -> None:
    told = {
        code(row[0])[0]: [code(cell) for cell in row[1:]]
        for row in table(PAGE, "type", "priority", "needed", "optional")
    }
    built_in = {kind.name: kind for kind in vars(events.emails).values() if isinstance(kind, EmailType)}

    assert told == {
        name: [[kind.priority.queue], list(kind.needed), list(kind.optional)] for name, kind in built_in.items()
    }


def test_the_priorities_are_those_of_the_code() -> None:
    told = [
        (code(member)[0], int(number), code(queue)[0])
        for member, number, queue in table(PAGE, "member", "number", "queue")
    ]

    assert told == [(priority.name, priority.value, priority.queue) for priority in Priority]


@pytest.mark.parametrize(("header", "choices"), [("status", Status), ("reason", Reason)])
def test_each_status_and_reason_is_told(header: str, choices: Any) -> None:
    assert [code(row[0])[0] for row in table(PAGE, header, "means")] == choices.values


@pytest.mark.parametrize(
    "dotted",
    sorted({word for word in code(PAGE.path.read_text()) if re.fullmatch(r"(emailqueue|events)(\.\w+)+", word)}),
)
def test_each_dotted_name_of_the_page_exists(dotted: str) -> None:
    assert find(dotted) is not None


@pytest.mark.parametrize("dotted", ["emailqueue.nowhere", "DeadLetter.resend", "flow.stop", "queue_mail"])
def test_a_name_that_does_not_exist_is_found(dotted: str) -> None:
    with pytest.raises(LookupError):
        find(dotted)


def _without_types(signature: inspect.Signature) -> ast.arguments:
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    written = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    function = ast.parse(f"def call{written}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    return function.args


def _value(text: str) -> Any:
    return Priority[text.removeprefix("Priority.")] if text.startswith("Priority.") else ast.literal_eval(text)


def _default(field: Field[Any]) -> list[Any]:
    if field.default is not MISSING:
        return [field.default]
    return [field.default_factory()] if field.default_factory is not MISSING else []
