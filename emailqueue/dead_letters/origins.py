"""Where a dead letter came from: other apps that know put a link on its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from emailqueue.models import DeadLetter


class Origin(NamedTuple):
    """A link to what led to a dead letter."""

    label: str
    url: str


OriginFinder = Callable[[DeadLetter, Any], Origin | None]
_finders: dict[str, OriginFinder] = {}


def register_origin(name: str, finder: OriginFinder) -> None:
    """Show the link that `finder` returns for a dead letter and a user, if any, on the page of the dead letter."""
    _finders[name] = finder


def origins_of(letter: DeadLetter, user: Any) -> list[Origin]:
    """Return the links that this user may follow."""
    return [origin for finder in _finders.values() if (origin := finder(letter, user)) is not None]
