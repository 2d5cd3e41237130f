"""The arrangement of the code: what stands on the ground floor, and how long files and functions are."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.conftest import ROOT
from tests.support.pages import Page
from tests.support.tables import code, table

TRACKED = [
    ROOT / name
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
]
CONTRIBUTING = Page(ROOT / "CONTRIBUTING.md")


def files(*folders: str, suffix: str) -> list[Path]:
    """Return the files of the package, but for migrations, which Django writes."""
    return [
        path
        for path in TRACKED
        if path.suffix == suffix and path.relative_to(ROOT).parts[0] in folders and "migrations" not in path.parts
    ]


def functions(path: Path) -> Iterator[int]:
    """Yield the lines of each function, without its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            yield 1 + (node.end_lineno or 0) - body[0].lineno + 1 if body else 1


def test_each_entry_of_the_ground_floor_is_explained_in_five_words() -> None:
    rows = {code(name)[0]: words for name, words in table(CONTRIBUTING, "in `emailqueue/`", "is")}

    entries = {
        path.relative_to(ROOT / "emailqueue").parts[0] for path in TRACKED if path.is_relative_to(ROOT / "emailqueue")
    }

    assert rows.keys() == entries
    assert len(entries) <= 36
    assert {name: words for name, words in rows.items() if len(words.split()) > 5} == {}


@pytest.mark.parametrize(("suffix", "most"), [(".py", 300), (".lua", 150)])
def test_no_file_is_long(suffix: str, most: int) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in files("emailqueue", "events", "config", suffix=suffix)
    }

    assert {name: length for name, length in lengths.items() if length > most} == {}


def test_functions_fit_in_one_look() -> None:
    lengths = [length for path in files("emailqueue", "events", suffix=".py") for length in functions(path)]

    assert median(lengths) <= 6
    assert quantiles(lengths, n=100)[94] <= 20


def test_the_package_has_at_most_so_many_lines() -> None:
    lengths = [len(path.read_text().splitlines()) for path in files("emailqueue", "events", suffix=".py")]

    assert sum(lengths) <= 16_300
