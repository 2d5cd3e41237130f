"""The files that staff take out of the list of dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from emailqueue.admin.action import AT_ONCE, all_that_match
from emailqueue.dead_letters.actions import record
from emailqueue.dead_letters.export import csv_lines, json_lines
from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.selection import Selection, fits
from emailqueue.models import DeadLetter


@admin.action(permissions=["export"], description=_("Export selected dead letters as CSV"))
def export_csv(_site: Any, request: HttpRequest, _letters: QuerySet[DeadLetter]) -> StreamingHttpResponse:
    """Return a file for a spreadsheet."""
    return _file(csv_lines(_selected(request, form="CSV")), name="csv", content_type="text/csv; charset=utf-8")


@admin.action(permissions=["export"], description=_("Export selected dead letters as JSON"))
def export_json(_site: Any, request: HttpRequest, _letters: QuerySet[DeadLetter]) -> StreamingHttpResponse:
    """Return a file for a program, with the content for users who may see it."""
    lines = json_lines(_selected(request, form="JSON"), with_body=may(request.user, "view_body"))
    return _file(lines, name="json", content_type="application/json")


def _selected(request: HttpRequest, *, form: str) -> QuerySet[DeadLetter]:
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
    return StreamingHttpResponse(
        (line.encode("utf-8", "replace") for line in lines),
        content_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{file_name}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )
