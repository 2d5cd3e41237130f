"""docs/errors.md, held against the errors of the code."""

from __future__ import annotations

import builtins
import inspect
import re
from types import ModuleType

import pytest

import emailqueue.errors
from emailqueue.errors import EmailQueueError
from tests.support.names import find
from tests.support.tables import ROOT, code, page, table

PAGE = page("errors")
ROWS = {code(row[0])[0]: row for row in table(PAGE, "error", "is also a", "raised by", "when", "do")}
SOURCE = "\n".join(
    path.read_text()
    for path in [*(ROOT / "emailqueue").rglob("*.py"), *(ROOT / "events").rglob("*.py")]
    if path.name != "errors.py"
)


def defined_in(module: ModuleType) -> dict[str, type[EmailQueueError]]:
    return {
        name: kind
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, EmailQueueError) and kind.__module__ == module.__name__ and kind is not EmailQueueError
    }


ERRORS = defined_in(emailqueue.errors)


def test_each_error_has_a_row_and_each_row_is_an_error() -> None:
    assert sorted(code(row[0])[0] for row in table(PAGE, "error", "is also a", "raised by", "when", "do")) == sorted(
        ERRORS
    )


@pytest.mark.parametrize("name", ERRORS)
def test_the_row_names_the_builtin_that_the_error_is(name: str) -> None:
    kinds = [kind.__name__ for kind in ERRORS[name].__mro__ if kind.__module__ == "builtins"]
    own = next((kind for kind in kinds if issubclass(getattr(builtins, kind), Exception) and kind != "Exception"), "")

    assert code(ROWS[name][1]) == ([own] if own else [])


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_is_raised_somewhere(name: str) -> None:
    assert re.search(rf"\b{name}\(|\berror={name}\b", SOURCE)


@pytest.mark.parametrize("name", ERRORS)
def test_what_raises_it_exists(name: str) -> None:
    called = [word.removesuffix("()") for word in code(ROWS[name][2]) if word.endswith("()")]

    assert [found for found in map(find, called) if not callable(found)] == []
