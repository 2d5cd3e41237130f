"""How log records become lines: the message, then what it carries."""

from __future__ import annotations

import logging
from typing import Any

_ordinary = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class Formatter(logging.Formatter):
    """Writes "TIME LEVEL logger message key=value …", the pairs from the record's extra."""

    def __init__(self, fmt: str | None = None, **kwargs: Any) -> None:
        super().__init__(fmt or "%(asctime)s %(levelname)s %(name)s %(message)s", **kwargs)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        """Return the line without a traceback."""
        line = super().formatMessage(record)
        pairs = [f"{key}={_quoted(value)}" for key, value in vars(record).items() if key not in _ordinary]
        return " ".join([line, *pairs])


def show(level: str | int | None) -> None:
    """Have the package's log lines printed, unless the project's own LOGGING prints them already."""
    logger = logging.getLogger("emailqueue")
    if level is not None:
        logger.setLevel(level)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(Formatter())
        logger.addHandler(handler)


def _quoted(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or any(map(str.isspace, text)) else text
