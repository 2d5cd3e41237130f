"""How dead letters leave the admin as a file: read and written a piece at a time, however many they are."""

import csv
import json
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from emailqueue.admin.action import Letters, all_that_match
from emailqueue.admin.base import AT_ONCE
from emailqueue.dead_letters.actions import may, record
from emailqueue.dead_letters.selection import Selection, fits
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


@admin.action(permissions=["export"], description=_("Export selected dead letters as CSV"))
def export_csv(_site: Any, request: HttpRequest, _letters: Letters) -> StreamingHttpResponse:
    """Return a file for a spreadsheet, one dead letter a line, without their content."""
    return _file(_csv_lines(_selected(request, form="CSV")), name="csv", content_type="text/csv; charset=utf-8")


@admin.action(permissions=["export"], description=_("Export selected dead letters as JSON"))
def export_json(_site: Any, request: HttpRequest, _letters: Letters) -> StreamingHttpResponse:
    """Return a file for a program, with the content for users who may see it."""
    columns = COLUMNS + BODY if may(request.user, "view_body") else COLUMNS
    lines = _json_lines(_selected(request, form="JSON"), columns)
    return _file(lines, name="json", content_type="application/json")


def _selected(request: HttpRequest, *, form: str) -> Letters:
    """Return what is exported, and write into the admin's history who did it."""
    if all_that_match(request):
        selection = Selection.parse(request.GET.dict())
        letters = DeadLetter.objects.alias(fits=fits(selection.condition())).filter(fits=True)
        about = str(selection) or gettext("all dead letters")
    else:
        ids = request.POST.getlist(ACTION_CHECKBOX_NAME)[:AT_ONCE]
        letters = DeadLetter.objects.filter(pk__in=ids)
        about = ngettext("%(count)d dead letter", "%(count)d dead letters", len(ids)) % {"count": len(ids)}
    record(request.user.pk, gettext("Exported as %(form)s.") % {"form": form}, about=about)
    return letters


def _file(lines: Iterator[str], *, name: str, content_type: str) -> StreamingHttpResponse:
    file_name = timezone.now().strftime(f"dead-letters-%Y%m%d-%H%M%S.{name}")
    headers = {
        "Content-Disposition": f'attachment; filename="{file_name}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    encoded = (line.encode("utf-8", "replace") for line in lines)
    return StreamingHttpResponse(encoded, content_type=content_type, headers=headers)


def _csv_lines(letters: Letters) -> Iterator[str]:
    writer: Any = csv.writer(SimpleNamespace(write=str))  # which hands the line back
    yield writer.writerow(COLUMNS)
    for row in _rows(letters, COLUMNS):
        yield writer.writerow(map(_cell, row))


def _json_lines(letters: Letters, columns: Sequence[str]) -> Iterator[str]:
    comma = "[\n"
    for row in _rows(letters, columns):
        yield comma + json.dumps(dict(zip(columns, row, strict=True)), cls=DjangoJSONEncoder)
        comma = ",\n"
    yield "\n]\n" if comma == ",\n" else "[]\n"


def _rows(letters: Letters, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
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
