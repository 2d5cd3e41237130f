"""Each catalogue translates what the source marks, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import polib
import pytest

from tests.support.catalogues import APPS, CATALOGUES, marked, texts
from tests.support.tables import ROOT

every_catalogue = pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: str(path.relative_to(ROOT)))


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"%(?:\(\w+\))?[a-z%]", text))


def translations(entry: polib.POEntry) -> list[tuple[str, str]]:
    """Return each form of the source with its translation."""
    if entry.msgid_plural:
        return [(entry.msgid, entry.msgstr_plural[0]), (entry.msgid_plural, entry.msgstr_plural[1])]
    return [(entry.msgid, entry.msgstr)]


def test_both_apps_speak_german() -> None:
    files = {str(path.relative_to(ROOT)) for path in CATALOGUES}

    assert files == {f"{app}/locale/de/LC_MESSAGES/django.po" for app in APPS}


@every_catalogue
def test_a_catalogue_has_what_the_source_marks_and_nothing_else(catalogue: Path) -> None:
    app = catalogue.relative_to(ROOT).parts[0]

    assert texts(catalogue).keys() == marked(app)


@every_catalogue
def test_all_is_translated_and_none_of_it_is_a_guess(catalogue: Path) -> None:
    entries = texts(catalogue).values()

    assert [entry.msgid for entry in entries if not entry.translated() or entry.fuzzy] == []


@every_catalogue
def test_a_translation_has_the_placeholders_and_the_edges_of_its_source(catalogue: Path) -> None:
    pairs = [pair for entry in texts(catalogue).values() for pair in translations(entry)]

    assert [pair for pair in pairs if placeholders(pair[0]) != placeholders(pair[1])] == []
    assert [pair for pair in pairs if edges(pair[0]) != edges(pair[1])] == []


def test_what_both_apps_say_is_translated_alike() -> None:
    ours, theirs = (texts(catalogue) for catalogue in CATALOGUES)

    # Django keeps one catalogue of all apps, in which the first wins.
    assert [text for text in ours.keys() & theirs.keys() if ours[text].msgstr != theirs[text].msgstr] == []


def edges(text: str) -> tuple[str, str]:
    """Return the space before and after a text, and the colon or full stop that it ends in."""
    before, after = re.fullmatch(r"(\s*).*?([.:!?]?\s*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # always fits
    return before, after
