"""The catalogues of translations, and the texts that the source marks for them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
from django.utils.translation import templatize

from tests.support.tables import ROOT

APPS = ("emailqueue", "events")
CATALOGUES = sorted(path for app in APPS for path in (ROOT / app / "locale").glob("*/LC_MESSAGES/django.po"))
MARKS = ("_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy")

Text = tuple[str, str | None]
"""What is translated: its singular, and its plural where it has one."""


def texts(catalogue: Path) -> dict[Text, polib.POEntry]:
    entries = polib.pofile(str(catalogue))
    return {(entry.msgid, entry.msgid_plural or None): entry for entry in entries if not entry.obsolete}


def marked(app: str) -> set[Text]:
    """Return what the modules and templates of an app mark, as Django's makemessages finds it."""
    found: set[Text] = set()
    for file in (ROOT / app).rglob("*.py"):
        found.update(_calls(ast.parse(file.read_text())))
    folders = [ROOT / app, ROOT / "templates" / app]
    for file in [file for folder in folders for kind in ("*.html", "*.txt") for file in folder.rglob(kind)]:
        # Django writes a template as calls with holes between them.
        for call in re.findall(
            r"""\b(?:n?gettext|_)\((?:[^()'"]|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")*\)""", templatize(file.read_text())
        ):
            found.update(_calls(ast.parse(call)))
    return found


def _calls(tree: ast.AST) -> Iterator[Text]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS:
            words = [argument.value for argument in node.args[:2] if isinstance(argument, ast.Constant)]
            if words and all(isinstance(word, str) for word in words):
                yield str(words[0]), str(words[1]) if node.func.id.startswith("ngettext") else None


def compile_into(folder: Path) -> list[Path]:
    """Compile the catalogues into a folder, and return what LOCALE_PATHS has to name."""
    for source in CATALOGUES:
        compiled = folder / source.relative_to(ROOT).with_suffix(".mo")
        compiled.parent.mkdir(parents=True)
        polib.pofile(str(source)).save_as_mofile(str(compiled))
    return [folder / app / "locale" for app in APPS]
