"""docs/scaling.md: its commands are taken, and its tables follow from the figures that were measured."""

from __future__ import annotations

import re
from math import ceil

import pytest

from benchmarks.capacity import FIGURES, parser
from emailqueue.conf import Settings
from emailqueue.delivery.smtp import RECYCLE_AFTER, RECYCLE_SECONDS
from emailqueue.store import OFFER_AGAIN, PIECE
from emailqueue.worker.claimed import MAX_JOBS
from tests.support.tables import code, page, table

PAGE = page("scaling")
TEXT = " ".join(PAGE.path.read_text().split())
COMMANDS = re.findall(r"`python -m benchmarks\.capacity( [^`]+)`", TEXT)
MEASURED = {row[0]: row[1] for row in table(PAGE, "figure", "value", "by")}


def number(text: str) -> float:
    return float(re.findall(r"[\d,.]+", text)[0].replace(",", ""))


BYTES = number(MEASURED["a waiting mail in Redis"])
SENT_BYTES = number(MEASURED["a sent mail that is still shown"])
LETTER_BYTES = number(MEASURED["a dead letter with three attempts"])
MOST_MICROSECONDS = number(MEASURED["time of Redis for a mail, from the call to settled"].split("to")[1])
LEAST_MICROSECONDS = number(MEASURED["time of Redis for a mail, from the call to settled"])
A_CORE = 400
"""Mails a second that the page gives to a worker: less than what was measured."""
BESIDE = 10
"""Milliseconds of a mail that are not the mail server's."""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_page_is_taken(command: str) -> None:
    assert parser().parse_args(command.split()).figure in FIGURES


def test_each_figure_of_the_benchmark_is_on_the_page() -> None:
    assert {command.split()[0] for command in COMMANDS} == FIGURES.keys()


def test_each_measured_value_names_its_command() -> None:
    by = [row[2] for row in table(PAGE, "figure", "value", "by")]

    assert all(code(cell) or cell.startswith(("likewise", "the same")) for cell in by)


def test_the_workers_follow_from_the_formula() -> None:
    for row in table(PAGE, "mails a second", "ms at the server", "threads", "workers of 5", "workers of 20"):
        mails, milliseconds, threads, *workers = map(int, row)

        needed = mails * (milliseconds + BESIDE) / 1000

        assert threads == ceil(needed), row
        assert workers == [ceil(max(threads / each, mails / A_CORE)) for each in (5, 20)], row
    assert f"N / {A_CORE}" in TEXT
    assert number(MEASURED["one worker by SMTP on loopback"]) > A_CORE


def test_the_bound_of_redis_follows_from_its_time() -> None:
    least, most = re.findall(r"full at ([\d,]+) to ([\d,]+) mails a second", TEXT)[0]

    assert number(least) == pytest.approx(1e6 / MOST_MICROSECONDS, rel=0.05)
    assert number(most) == pytest.approx(1e6 / LEAST_MICROSECONDS, rel=0.05)


def test_the_memory_follows_from_the_bytes_of_a_mail() -> None:
    for mails, megabytes in table(PAGE, "waiting mails", "MB"):
        assert number(megabytes) == number(mails) * BYTES / 1e6
    assert f"4 · 1,000 · {SENT_BYTES:,.0f} bytes = {4000 * SENT_BYTES / 1e6:.0f} MB" in TEXT
    assert f"{100 * 86400 / 1e6:.1f} million mails, {100 * 86400 * BYTES / 1e9:.1f} GB" in TEXT


def test_the_growth_of_the_tables_follows_from_the_bytes_of_a_letter() -> None:
    a_day = 10_000 * LETTER_BYTES

    assert f"{a_day / 1e6:.0f} MB a day, {90 * a_day / 1e9:.1f} GB in 90 days" in TEXT


def test_the_connections_follow_from_those_of_a_worker() -> None:
    told = {row[0]: row[1] for row in table(PAGE, "to", "connections", "of")}
    redis, database = number(told["Redis"]), number(told["the database"])

    sentence = (
        f"Eleven workers of 20 threads: {11 * redis:.0f} connections to Redis, {11 * database:.0f} to "
        f"{11 * (database + 20):.0f} to the database, {11 * 20} to the mail server."
    )

    assert sentence in TEXT


def test_what_is_taken_from_the_code_is_so() -> None:
    assert Settings().rate_limit == 10
    assert f"at most {MAX_JOBS} jobs" in TEXT
    assert f"kept for {RECYCLE_AFTER} mails or {RECYCLE_SECONDS:g} s" in TEXT
    assert f"pieces of {PIECE}" in TEXT
    assert f"within {OFFER_AGAIN // 60} minutes" in TEXT
    assert f"for {Settings().keep_sent:g} s" in TEXT
