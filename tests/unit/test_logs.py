from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from emailqueue.logs import Formatter, show


@contextmanager
def package_logger() -> Iterator[logging.Logger]:
    """Hand out the package's logger as in a project that has configured no logging."""
    # No fixture: pytest adds its own handlers after the fixtures.
    logger = logging.getLogger("emailqueue")
    before = logger.level, logger.propagate, logger.handlers
    logger.propagate, logger.handlers = False, []
    yield logger
    logger.level, logger.propagate, logger.handlers = before


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "emailqueue.worker", "levelname": "INFO", "msg": message, **extra})


def test_what_a_record_carries_follows_its_message() -> None:
    line = Formatter("%(levelname)s %(name)s %(message)s").format(record("sent", job_id="ab12", attempt=1))

    assert line == "INFO emailqueue.worker sent job_id=ab12 attempt=1"


@pytest.mark.parametrize(
    ("value", "written"), [("", "''"), ("two words", "'two words'"), ("a\nb", r"'a\nb'"), (None, "None")]
)
def test_a_value_cannot_be_taken_for_two(value: object, written: str) -> None:
    line = Formatter("%(message)s").format(record("sent", error=value))

    assert line == f"sent error={written}"


def test_the_time_comes_first_unless_a_format_says_otherwise() -> None:
    line = Formatter().format(record("sent", created=0.0))

    assert "INFO emailqueue.worker sent" in line
    assert line.startswith(("1970-01-01", "1969-12-31"))


def test_lines_are_shown_where_nobody_has_configured_logging() -> None:
    stream = io.StringIO()

    with package_logger() as logger, redirect_stderr(stream):
        show("DEBUG")
        show(None)
        logger.debug("claimed", extra={"jobs": 2})

    [line] = stream.getvalue().splitlines()
    assert line.endswith("DEBUG emailqueue claimed jobs=2")


def test_a_project_that_logs_gets_no_line_twice() -> None:
    own = logging.NullHandler()

    with package_logger() as logger:
        logger.addHandler(own)
        show("INFO")
        shown_by = list(logger.handlers)

    assert shown_by == [own]
