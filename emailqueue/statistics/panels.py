"""The tables of the statistics page, and the register in which other apps put theirs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from emailqueue.statistics.snapshot import Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One table: plain values, which the page escapes."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""
    """A sentence below the table."""

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"title": self.title, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}


PanelMaker = Callable[[Snapshot], Panel]
_makers: dict[str, PanelMaker] = {}


def register_panel(name: str, maker: PanelMaker) -> None:
    """
    Show the panel that `maker` returns on the statistics page, and under `name` in its JSON.

    Call it in AppConfig.ready(). `maker` is given the figures that were read already; it should read no others.
    """
    _makers[name] = maker


def panels_of(snapshot: Snapshot) -> Mapping[str, Panel]:
    """Return all panels. One that fails says so in its place, and takes no other with it."""
    return {name: _made(name, maker, snapshot) for name, maker in _makers.items()}


def _made(name: str, maker: PanelMaker, snapshot: Snapshot) -> Panel:
    try:
        return maker(snapshot)
    except Exception:
        logger.exception("a panel of the statistics failed", extra={"panel": name})
        return Panel(title=name, columns=(), rows=(), note=gettext("This panel failed; the log says why."))
