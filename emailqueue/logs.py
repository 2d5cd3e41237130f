"""How log records become lines: the message, then what it carries, and never an address."""

import json
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_ATOM = r"[^\x00-\x20\x7f\"(),:;<>@\[\]\\…]"
"""What may stand in a local part without quotes (RFC 5322 3.2.3, RFC 6532), but for our own mark."""
_ADDRESS = re.compile(
    rf"""(?: "(?:[^"\\\n]|\\++"?){{0,100}}"  # quoted, and the quotes of a repr or of JSON escaped once more
           | (?<!{_ATOM}) (?P<before>['`/={{|}}]*+) {_ATOM}+  # from where it begins, so that a long line costs little
         ) (?:@|%40) (?=[\w\[])""",
    re.VERBOSE,
)
"""The local part of an address, where a server's reply, a link or a traceback quotes one; rather more than less."""
_ordinary = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class Formatter(logging.Formatter):
    """
    Writes "TIME LEVEL logger message key=value …", the pairs from the record's extra.

    Of an address, which only a server's reply or a traceback can hold, the domain is left.
    """

    def __init__(self, fmt: str | None = None, **kwargs: Any) -> None:
        super().__init__(fmt or "%(asctime)s %(levelname)s %(name)s %(message)s", **kwargs)

    def format(self, record: logging.LogRecord) -> str:
        return _without_addresses(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        pairs = [f"{key}={_without_addresses(_quoted(value))}" for key, value in _extra(record).items()]
        return " ".join([super().formatMessage(record), *pairs])


class JSONFormatter(logging.Formatter):
    """
    Writes each record as one JSON object on one line: time, level, logger, message, and the record's extra beside them.

    An error has error_class and traceback, too. Of an address the domain is left, as above.
    """

    def format(self, record: logging.LogRecord) -> str:
        fixed: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            fixed |= {"error_class": record.exc_info[0].__name__, "traceback": self.formatException(record.exc_info)}
        if record.stack_info:
            fixed["stack"] = self.formatStack(record.stack_info)
        # A key of ours is never overwritten, so that each log tells the same by it.
        entry = fixed | {key: value for key, value in _extra(record).items() if key not in fixed}
        return json.dumps(_masked(entry), ensure_ascii=False)


def show(level: str | int | None) -> None:
    """Have the package's log lines printed, unless the project's own LOGGING prints them already."""
    logger = logging.getLogger("emailqueue")
    if level is not None:
        logger.setLevel(level)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(Formatter())
        logger.addHandler(handler)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _ordinary}


def _masked(value: Any) -> Any:
    """Return `value` as JSON can carry it, without addresses."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_without_addresses(str(key)): _masked(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(part) for part in value]
    # Half a surrogate pair, which JSON would pass on and no file in UTF-8 takes.
    return _without_addresses(str(value)).encode("utf-8", "backslashreplace").decode()


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub(lambda found: f"{found['before'] or ''}…@", text) if "@" in text or "%40" in text else text


def _quoted(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or any(map(str.isspace, text)) else text
