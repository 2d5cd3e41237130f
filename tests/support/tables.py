"""The tables of a page of the docs, row by row."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.pages import Page

ROOT = Path(__file__).parents[2]


def page(name: str) -> Page:
    """Return a page of the docs by its name: "settings"."""
    return Page(ROOT / "docs" / f"{name}.md")


def table(of: Page, *header: str) -> list[list[str]]:
    """Return the rows below each table that has this header, as they are written. Raises LookupError without one."""
    rows = [row for first, *rows in _tables(of) if first == list(header) for row in rows]
    if not rows:
        raise LookupError(f"{of.path.name} has no table with the header {' | '.join(header)}.")
    return rows


def code(cell: str) -> list[str]:
    """Return what stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def section(of: Page, heading: str) -> str:
    """Return what stands below a heading of any level, up to the next one."""
    [found] = re.findall(rf"(?ms)^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", of.path.read_text())
    return str(found)


def _tables(of: Page) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = []
    cell = False
    for token in of.tokens:
        match token.type:
            case "table_open":
                tables.append([])
            case "tr_open":
                tables[-1].append([])
            case "th_open" | "td_open":
                cell = True
            case "inline" if cell:
                tables[-1][-1].append(token.content)
                cell = False
    return tables
