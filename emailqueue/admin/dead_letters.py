"""The dead letters in the admin: what the list shows, who may do what, and which address leads where."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import date
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from emailqueue.admin import email_types, statistics
from emailqueue.admin.action import DeadLetterAction, address_of
from emailqueue.admin.actions import ACTIONS
from emailqueue.admin.base import ReadOnlyAdmin
from emailqueue.admin.dead_letter_page import as_pre, page_context
from emailqueue.admin.export import export_csv, export_json
from emailqueue.admin.filters import FILTERS
from emailqueue.dead_letters.actions import may
from emailqueue.dead_letters.counting import BoundedPaginator
from emailqueue.dead_letters.preview import render_now
from emailqueue.dead_letters.sandbox import sandboxed
from emailqueue.dead_letters.selection import PARAMETERS, Selection
from emailqueue.dead_letters.summary import error_line, headline
from emailqueue.models import DeadLetter, Status

UNLISTED = ("arguments", "raw", "rendered", "smtp_reply", "edits", "backoff", "discard_reason")
"""Columns that may be long and that the list does not show."""

OUTCOME = ["discard_reason", "closed_at", "retried_job_id", "edits_of_the_retry", "retry_of"]
JOB = [
    "status", "job_id", "label", "recipient", "queue", "function", "created_at", "dead_lettered_at",
    "attempts_charged", "attempts_allowed", "waits",
]  # fmt: skip


def _requires(permission: str) -> Callable[[Any, HttpRequest], bool]:
    return lambda _site, request: may(request.user, permission)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Read-only; each action has a permission of its own."""

    actions = [*(action.as_list_action() for action in ACTIONS if action.label), export_csv, export_json]
    list_display = ["address", "state", "age", "mail", "what_happened", "attempts_charged"]
    list_filter = FILTERS
    list_max_show_all = 100
    ordering = ["-dead_lettered_at", "pk"]
    paginator = BoundedPaginator
    # A page of another order would read the whole table.
    sortable_by = ["age"]
    search_fields = ["recipient"]  # shows the field; what is searched, Selection says
    search_help_text = _("Beginning of a recipient's address, of a job id or of an error's text")
    show_facets = admin.ShowFacets.NEVER

    has_retry_permission = _requires("retry")
    has_discard_permission = _requires("discard")
    has_export_permission = _requires("export")

    # The list

    @admin.display(description=_("recipient"))
    def address(self, letter: DeadLetter) -> str:
        """Return the address, which may break at its dots; without one, something to click on."""
        parts = [(part,) for part in re.split(r"(?<=\.)|(?=@)", letter.recipient or "-")]
        inner = format_html_join(mark_safe("<wbr>"), "{}", parts)
        return format_html('<span class="eq-address" title="{}">{}</span>', letter.recipient, inner)

    @admin.display(description=_("status"))
    def state(self, letter: DeadLetter) -> str:
        mark = "open" if letter.status == Status.OPEN else "closed"
        return format_html('<span class="eq-status eq-{}">{}</span>', mark, letter.get_status_display())

    @admin.display(description=_("type"))
    def mail(self, letter: DeadLetter) -> str:
        return _two_lines(letter.label, letter.get_priority_display() or "")

    @admin.display(description=_("what happened"))
    def what_happened(self, letter: DeadLetter) -> str:
        return _two_lines(headline(letter), error_line(letter))

    @admin.display(description=_("age"), ordering="dead_lettered_at")
    def age(self, letter: DeadLetter) -> str:
        """Return roughly how old it is; the exact time is a hover away."""
        at = letter.dead_lettered_at
        exact, age = date(at, "DATETIME_FORMAT"), timesince(at, depth=1)
        return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, age)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in PARAMETERS  # a bulk action would ignore any other

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], search_term: str
    ) -> tuple[QuerySet[DeadLetter], bool]:
        """Apply filters and search together."""
        return Selection.parse(request.GET.dict()).narrow(queryset).defer(*UNLISTED), False

    # One dead letter

    @admin.display(description=_("waits between attempts"))
    def waits(self, letter: DeadLetter) -> str:
        return as_pre(letter.backoff)

    @admin.display(description=_("edits of the retry"))
    def edits_of_the_retry(self, letter: DeadLetter) -> str:
        return as_pre(letter.edits) if letter.edits else "-"

    @admin.display(description=_("retry of"))
    def retry_of(self, letter: DeadLetter) -> str:
        if not letter.redrives:
            return "-"
        return format_html('<a href="{}">{}</a>', address_of(letter.redrives), letter.redrives)

    def get_fieldsets(self, request: HttpRequest, obj: DeadLetter | None = None) -> Any:
        """Leave out what became of it while nothing has, and edits for users who may not see the content they hold."""
        hidden = "" if may(request.user, "view_body") else "edits_of_the_retry"
        outcome = [name for name in OUTCOME if name != hidden]
        ended = obj and (obj.redrives or obj.retried_job_id or obj.closed_at)
        return [*([(None, {"fields": outcome})] if ended else []), (_("Job"), {"fields": JOB})]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what the template shows beside the fields."""
        context |= page_context(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def action_view(self, request: HttpRequest, object_id: str, *, action: DeadLetterAction) -> HttpResponse:
        return action.on_one(self, request, self._get(request, object_id, permission=action.permission))

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return sandboxed(render_now(self._get(request, object_id, permission="view_body")).html)

    def _get(self, request: HttpRequest, object_id: str, *, permission: str) -> DeadLetter:
        if not may(request.user, permission):
            raise PermissionDenied
        return get_object_or_404(DeadLetter, pk=unquote(object_id))

    def get_urls(self) -> list[URLPattern]:
        """Put the actions before Django's own addresses, whose last one takes everything."""
        site = self.admin_site
        views: dict[str, Callable[..., HttpResponse]] = {
            action.name: partial(self.action_view, action=action) for action in ACTIONS
        }
        ours = [
            path(f"<path:object_id>/{name}/", site.admin_view(view), name=f"emailqueue_deadletter_{name}")
            for name, view in {**views, "preview": self.preview_view}.items()
        ]
        return [*ours, *statistics.urls(site), *email_types.urls(site), *super().get_urls()]


def _two_lines(first: str, second: str) -> str:
    return format_html('{}<div class="eq-more">{}</div>', first, second)
