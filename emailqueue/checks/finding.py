"""What the doctor says about one part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from django.core.checks import ERROR, WARNING, CheckMessage


class Level(StrEnum):
    """How bad it is. Only an error says that mail does not, or will not, go out."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence about one part, and the way out. Never an address that mail goes to, never a password."""

    id: str
    """By which programs know what was found, whatever the sentence: docs/operations.md lists them."""

    part: str
    """What was examined: redis, mail server, templates, …"""

    level: Level
    text: str
    way_out: str = ""
    """What to do; empty where nothing is to be done."""

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)


def ok(part: str, word: str, text: str) -> Finding:
    """Say that a part is in order. `word` makes its id, as in "workers.alive"."""
    return Finding(id=_id(part, word), part=part, level=Level.OK, text=text)


def warning(part: str, word: str, text: str, way_out: str) -> Finding:
    """Say what may become a trouble, or is one that staff may have wanted."""
    return Finding(id=_id(part, word), part=part, level=Level.WARNING, text=text, way_out=way_out)


def error(part: str, word: str, text: str, way_out: str) -> Finding:
    """Say what keeps mail from going out."""
    return Finding(id=_id(part, word), part=part, level=Level.ERROR, text=text, way_out=way_out)


def _id(part: str, word: str) -> str:
    return f"{part.replace(' ', '-')}.{word}"


def from_checks(part: str, messages: Iterable[CheckMessage]) -> Iterator[Finding]:
    """Return the findings that messages of Django's system checks come to, with the ids of the checks."""
    for message in messages:
        level = Level.ERROR if message.level >= ERROR else Level.WARNING if message.level >= WARNING else Level.OK
        identity = message.id or _id(part, "check")
        yield Finding(id=identity, part=part, level=level, text=str(message.msg), way_out=message.hint or "")


def worst(findings: Iterable[Finding]) -> Level:
    """Return the level of the worst of them."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.ERROR, Level.WARNING) if level in levels), Level.OK)
