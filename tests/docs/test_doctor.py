"""The table of the doctor's findings, held against the source."""

from __future__ import annotations

import re

from tests.conftest import ROOT

IDS = re.compile(r'\bid="([a-z-]+\.[a-z-]+)"')


def test_the_page_lists_each_id_and_no_other() -> None:
    sources = [file.read_text() for file in (ROOT / "emailqueue" / "checks").glob("*.py")]
    ids = {identity for source in sources for identity in IDS.findall(source)}

    page = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z -]+) \| ((?:`[a-z-]+\.[a-z-]+`(?:, )?)+) \|$", page)

    assert {identity for _part, row in rows for identity in re.findall(r"`([a-z.-]+)`", row)} == ids
    assert all(
        identity.startswith(f"{part.replace(' ', '-')}.")
        for part, row in rows
        for identity in row.strip("`").split("`, `")
    )
