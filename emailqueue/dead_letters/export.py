"""Dead letters as the lines of a file: read and written a piece at a time, however many they are."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from emailqueue.models import DeadLetter

PIECE = 500
"""Dead letters in memory at once."""
COLUMNS = (
    "id", "job_id", "queue", "label", "email_type", "recipient", "priority", "reason", "status", "attempts_charged",
    "attempts_allowed", "error_class", "message", "smtp_code", "smtp_reply", "created_at", "dead_lettered_at",
    "closed_at", "discard_reason", "retried_job_id",
)  # fmt: skip
BODY = ("arguments", "edits", "raw")
"""Columns that hold the mail's content."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is a formula to a spreadsheet (OWASP: CSV injection)."""


class _Line:
    """What csv writes to: hands the line back."""

    def write(self, line: str) -> str:
        return line


def csv_lines(letters: QuerySet[DeadLetter]) -> Iterator[str]:
    """Write CSV, one dead letter a line, without their content."""
    writer: Any = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for row in _rows(letters, COLUMNS):
        yield writer.writerow(map(_cell, row))


def json_lines(letters: QuerySet[DeadLetter], *, with_body: bool) -> Iterator[str]:
    """Write a JSON array, one dead letter a line, with or without their content."""
    columns = COLUMNS + BODY if with_body else COLUMNS
    comma = "[\n"
    for row in _rows(letters, columns):
        yield comma + json.dumps(dict(zip(columns, row, strict=True)), cls=DjangoJSONEncoder)
        comma = ",\n"
    yield "\n]\n" if comma == ",\n" else "[]\n"


def _rows(letters: QuerySet[DeadLetter], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Read in the order of the ids, since a cursor that stays open would hold a transaction as long as the download."""
    last = ""
    ordered = letters.order_by("pk").values_list("pk", *columns)
    while piece := list(ordered.filter(pk__gt=last)[:PIECE]):
        for _pk, *row in piece:
            yield tuple(row)
        last = piece[-1][0]


def _cell(value: Any) -> str:
    text = "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
