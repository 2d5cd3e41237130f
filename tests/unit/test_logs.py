from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from emailqueue.logs import Formatter, JSONFormatter, show


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


# JSON


def fail(text: str) -> None:
    raise ValueError(text)


def raised(text: str) -> object:
    try:
        fail(text)
    except ValueError:
        return sys.exc_info()
    return None


def entry(**extra: object) -> dict[str, object]:
    line = JSONFormatter().format(record("sent", created=0.25, **extra))
    assert "\n" not in line
    loaded: dict[str, object] = json.loads(line)
    return loaded


def test_a_record_becomes_one_json_object_with_what_it_carries() -> None:
    told = entry(job_id="ab12", attempt=1, ms=1.5, ok=True, error=None, queues=("low", "high"))

    assert told == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "INFO",
        "logger": "emailqueue.worker",
        "message": "sent",
        "job_id": "ab12",
        "attempt": 1,
        "ms": 1.5,
        "ok": True,
        "error": None,
        "queues": ["low", "high"],
    }


def test_an_error_has_its_traceback_on_the_same_line() -> None:
    told = entry(exc_info=raised("no\nmail"))

    assert told["error_class"] == "ValueError"
    assert str(told["traceback"]).endswith("ValueError: no\nmail")


def test_a_stack_that_was_asked_for_is_on_the_same_line() -> None:
    assert (
        entry(stack_info="Stack (most recent call last):\n  here")["stack"] == "Stack (most recent call last):\n  here"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ({1}, [1]),
        ({"a": object}, {"a": "<class 'object'>"}),
        (b"\xff", "b'\\xff'"),
        ("\ud800", "\\ud800"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_any_value_can_be_written(value: object, written: object) -> None:
    assert entry(value=value)["value"] == written


def test_what_a_record_carries_never_hides_our_own_keys() -> None:
    assert (entry(level="low", time="now")["level"], entry(time="now")["time"]) == (
        "INFO",
        "1970-01-01T00:00:00.250+00:00",
    )


@pytest.mark.parametrize("formatter", [Formatter(), JSONFormatter()])
@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("550 5.1.1 <ada.l+x@example.com>: unknown", "550 5.1.1 <…@example.com>: unknown"),
        ("to ada@[127.0.0.1], grace@bücher.example", "to …@[127.0.0.1], …@bücher.example"),
        ('to "ada l"@example.com', "to …@example.com"),
        (r'to "ada \"grace\" l"@example.com', "to …@example.com"),
        ('to "ada@home"@example.com', "to …@example.com"),
        (json.dumps('"ada l"@example.com'), "…@example.com"),
        (json.dumps(json.dumps('"ada l"@example.com')), "…@example.com"),
        ("GET /stop?to=ada%40example.com&x=1", "…@example.com&x=1"),
        ("GET /stop?to=%22ada%20l%22%40example.com", "…@example.com"),
        ("to bounce+ada=example.com@list.example", "to …@list.example"),
        ("to ada/lovelace@example.com", "to …@example.com"),
        ("to /G=Ada/S=ada/@gateway.example", "to /…@gateway.example"),
        ("to o'ada@example.com", "to …@example.com"),
        ("to 'ada@example.com'", "…@example.com"),
        ("to !#$%&*+-/=?^_`{|}~ada@example.com", "to …@example.com"),
        ("to adaλ.😀@example.com", "to …@example.com"),
        ("redis://:ada@redis.example:6379", "redis://:…@redis.example:6379"),
        ("@subscribe is no address, nor is a@", "@subscribe is no address, nor is a@"),
    ],
)
def test_of_an_address_only_the_domain_is_left(formatter: logging.Formatter, text: str, left: str) -> None:
    written = formatter.format(record("failed %s", args=(text,), error=text, exc_info=raised(text)))

    assert "ada" not in written.lower()
    assert "grace" not in written
    assert written.count(left) == 3  # in the message, in the extra and at the end of the traceback


def test_an_address_costs_no_key_of_the_line_that_carries_it() -> None:
    line = Formatter("%(message)s").format(record("failed", to="ada@example.com", error="to ada@example.com"))

    assert line == "failed to=…@example.com error='to …@example.com'"


@pytest.mark.parametrize(
    "long",
    ["x" * 200_000, '\\"' * 100_000, "%40" * 70_000, "=" * 200_000, '"x' * 100_000],
    ids=["x", "escaped quotes", "encoded at", "equals", "quotes"],
)
def test_a_long_line_is_written_at_once(long: str) -> None:
    began = time.process_time()

    Formatter("%(message)s").format(record(f"a@ {long}"))

    assert time.process_time() - began < 10  # hours, where each character began a search of its own
