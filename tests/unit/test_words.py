"""One word for each thing: the words that we left stand nowhere, in no name and in nothing that people read."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.test_house import TRACKED

LEFT_NAMES = {
    "addressee": "recipient",
    "advice": "hint",
    "death": "dead_letter",
    "deaths": "dead_letters",
    "died": "dead_lettered",
    "foreign": "stock_worker",
    "held": "waits, throttled",
    "kinds": "schema",
    "letter": "dead_letter",
    "letters": "dead_letters",
    "misfit": "schema's error",
    "rendition": "preview",
    "rights": "permissions",
    "rounds": "worker loop",
    "said": "describe, report, format",
    "scout": "probe",
    "sealed": "sandbox",
    "shape": "schema",
    "slot": "worker thread",
    "slowed": "throttled",
    "story": "summary",
    "stranger": "stock_worker",
    "tell": "describe, report, format",
    "told": "describe, report, format",
    "tries": "attempts",
    "words": "text",
}
"""Part of a name that is defined, and what stands there instead."""

LEFT_WORDS = {
    r"(?<!dead )(?<!Dead )\bletters?\b(?!, digits)": "dead letter",
    r"\bdeaths?\b": "dead letter",
    r"\b(?:a|the|each|every|first|last|second|third|next|all|more|no|many|of|its|two|three) (?:try|tries)\b": "attempt",
    r"\bscouts?\b": "probe",
    r"\bslowed\b": "throttled",
    r"\b[Ff]oreign\b(?! key)": "stock worker's",
    r"\bstrangers?\b": "stock worker",
    r"\bways? out\b": "hint",
    r"\badvice\b": "hint",
    r"\btold\b": "described, reported",
    r"\brenditions?\b": "preview",
    r"\baddressees?\b": "recipient",
    r"\bmisfits?\b": "what does not fit",
    r"\b[Ss]hall\b": "must, will",
    r"\b[Ll]ikewise\b": "also, the same",
    r"\bwants\b": "needs, asks for",
}
"""Word or phrase in what people read, and what they read instead."""


def names(source: str) -> Iterator[str]:
    """Yield what a module defines: classes, functions, keyword-only arguments and fields."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
                yield from (argument.arg for argument in node.args.kwonlyargs)
            case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def parts(name: str) -> set[str]:
    """Return the words of a name, without the one thing that is called a letter."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return set(re.sub(r"dead_?letters?", "", words).split("_"))


def prose(path: Path) -> str:
    """Return what people read of a file: comments and texts of code, and pages without their code."""
    text = path.read_text()
    match path.suffix:
        case ".py":
            return "\n".join(_python(text))
        case ".lua":
            return "\n".join(re.findall(r"--(.*)", text))
        case ".md":
            return re.sub(r"(?s)```.*?```|`[^`]*`|\]\([^)]*\)|(?m:^    .*$)", " ", text)
        case _:
            return re.sub(r"(?s)\{%(?! translate)(?! blocktranslate).*?%\}|\{\{.*?\}\}|<[^>]*>", " ", text)


def _python(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield re.sub(r"`[^`]*`|\{[^}]*\}", " ", token.string)


CODE = [
    path
    for path in TRACKED
    if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("emailqueue", "events", "config")
]
READ = [
    path
    for path in TRACKED
    if (path in CODE or path.suffix in (".lua", ".html", ".md")) and path.relative_to(ROOT).parts[0] != "tests"
]


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [path for path in CODE if "migrations" not in path.parts], ids=_id)
def test_no_name_has_a_word_that_we_left(path: Path) -> None:
    found = {name: parts(name) & LEFT_NAMES.keys() for name in [path.stem, *names(path.read_text())]}

    assert {name: [LEFT_NAMES[word] for word in words] for name, words in found.items() if words} == {}


@pytest.mark.parametrize("path", READ, ids=_id)
def test_nothing_that_people_read_has_a_word_that_we_left(path: Path) -> None:
    text = " ".join(prose(path).split())

    found = [
        (match[0], instead, text[max(0, match.start() - 30) : match.end() + 30])
        for left, instead in LEFT_WORDS.items()
        for match in re.finditer(left, text)
    ]

    assert found == []


def test_a_word_that_we_left_is_found() -> None:
    assert parts("OpenLetters") & LEFT_NAMES.keys() == {"letters"}
    assert parts("dead_letter") & LEFT_NAMES.keys() == set()
