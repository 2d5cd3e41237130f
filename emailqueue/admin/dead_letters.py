"""The dead letters in the admin: what the list shows, who may do what, and which address leads where."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import date
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from emailqueue.admin import (
    dead_letter_page as letter_page,
)
from emailqueue.admin import (
    email_types as type_pages,
)
from emailqueue.admin import (
    one_dead_letter as single,
)
from emailqueue.admin import (
    several_dead_letters as several,
)
from emailqueue.admin.control import control
from emailqueue.admin.filters import FILTERS
from emailqueue.admin.statistics import stats_json, stats_page
from emailqueue.dead_letters.counting import BoundedPaginator
from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.selection import Selection
from emailqueue.dead_letters.summary import error_line, plain_words
from emailqueue.models import DeadLetter, Status

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[DeadLetter]
else:
    ModelAdmin = admin.ModelAdmin

UNLISTED = ("arguments", "raw", "rendered", "smtp_reply", "edits", "backoff", "discard_reason")
"""Columns that may be long and that the list does not show."""


class DeadLetterAdmin(ModelAdmin):
    """Read-only; each verb has a permission of its own."""

    actions = ["retry", "discard", "export_csv", "export_json"]
    list_display = ["addressee", "state", "age", "kind", "why", "tries"]
    list_filter = FILTERS
    list_max_show_all = 100
    ordering = ["-died_at", "pk"]
    paginator = BoundedPaginator
    # A page of another order would read the whole table.
    sortable_by = ["age"]
    search_fields = ["recipient"]  # shows the field; what is searched, Selection says
    search_help_text = _("Beginning of a recipient's address, of a job id or of an error's text")
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    fieldsets = [
        (None, {"fields": ["discard_reason", "closed_at", "retried_job_id", "edits_of_the_retry", "retry_of"]}),
        (
            _("Job"),
            {"fields": ["status", "job_id", "label", "recipient", "queue", "function", "created_at", "died_at"]},
        ),
        (_("Tries"), {"fields": ["tries", "attempts_allowed", "waits"]}),
    ]

    class Media:
        css = {"all": ["emailqueue/review.css"]}

    # The list

    @admin.display(description=_("recipient"))
    def addressee(self, letter: DeadLetter) -> str:
        """Return the address, which may break at its dots; without one something to click on, too."""
        parts = re.split(r"(?<=\.)|(?=@)", letter.recipient or "-")
        inner = format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in parts))
        return format_html('<span class="eq-address" title="{}">{}</span>', letter.recipient, inner)

    @admin.display(description=_("status"))
    def state(self, letter: DeadLetter) -> str:
        """Return the status, marked so that the style sheet tells closed letters from open ones."""
        kind = "open" if letter.status == Status.OPEN else "closed"
        return format_html('<span class="eq-status eq-{}">{}</span>', kind, letter.get_status_display())

    @admin.display(description=_("type"))
    def kind(self, letter: DeadLetter) -> str:
        """Return the type, and below that the priority."""
        priority = letter.get_priority_display() or ""
        return format_html('{}<div class="eq-more">{}</div>', letter.label, priority)

    @admin.display(description=_("what happened"))
    def why(self, letter: DeadLetter) -> str:
        """Return why it died, and below that the last error."""
        return format_html('{}<div class="eq-more">{}</div>', plain_words(letter), error_line(letter))

    @admin.display(description=_("age"), ordering="died_at")
    def age(self, letter: DeadLetter) -> str:
        """Return how long ago it died, roughly; the exact time is a hover away."""
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            letter.died_at.isoformat(),
            date(letter.died_at, "DATETIME_FORMAT"),
            timesince(letter.died_at, depth=1),
        )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the filters alone: what Selection does not know, a bulk action would not heed."""
        return lookup in {list_filter.parameter_name for list_filter in FILTERS}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], search_term: str
    ) -> tuple[QuerySet[DeadLetter], bool]:
        """Apply filters and search together."""
        return Selection.parse(request.GET.dict()).narrow(queryset).defer(*UNLISTED), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Say what "all" means, since their number is not known."""
        extra = {"selection_note_all": _("All that match this filter are selected"), **(extra_context or {})}
        return super().changelist_view(request, extra)

    # One letter

    @admin.display(description=_("waits between tries"))
    def waits(self, letter: DeadLetter) -> str:
        """Return the backoff, laid out."""
        return letter_page.laid_out(letter.backoff)

    @admin.display(description=_("edits of the retry"))
    def edits_of_the_retry(self, letter: DeadLetter) -> str:
        """Return what a retry changed, laid out."""
        return letter_page.laid_out(letter.edits) if letter.edits else "-"

    @admin.display(description=_("retry of"))
    def retry_of(self, letter: DeadLetter) -> str:
        """Lead to the letter whose retry this is."""
        if not letter.redrives:
            return "-"
        address = letter_page.address_of(DeadLetter(pk=letter.redrives))
        return format_html('<a href="{}">{}</a>', address, letter.redrives)

    def get_fieldsets(self, request: HttpRequest, obj: DeadLetter | None = None) -> Any:
        """Leave out what became of it while nothing has, and the edits for who may not see the content they hold."""
        fieldsets = self.fieldsets
        if obj and not (obj.redrives or obj.retried_job_id or obj.closed_at):
            fieldsets = fieldsets[1:]
        if may(request.user, "view_body"):
            return fieldsets
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name != "edits_of_the_retry"]})
            for title, options in fieldsets
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what the template shows beside the fields."""
        context |= letter_page.page_context(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        """Put the verbs before Django's own addresses, whose last one takes everything."""
        verbs = {
            "retry": single.retry,
            "edit": single.edit,
            "discard": single.discard,
            "preview": single.preview,
        }
        return [
            *(
                path(
                    f"<path:object_id>/{verb}/",
                    self.admin_site.admin_view(partial(self._one, act=act, verb=verb)),
                    name=f"emailqueue_deadletter_{verb}",
                )
                for verb, act in verbs.items()
            ),
            *self._stats_urls(),
            *self._types_urls(),
            *super().get_urls(),
        ]

    def _stats_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(partial(stats_page, site=self.admin_site))
        # Not admin_view: it sends whom it does not know to the login page, and a program has a token.
        verbs = partial(control, site=self.admin_site)
        as_json = never_cache(partial(stats_json, site=self.admin_site))
        return [
            path("stats/", page, name="emailqueue_stats"),
            path("stats/control/", self.admin_site.admin_view(verbs), name="emailqueue_stats_control"),
            path("stats.json", as_json, name="emailqueue_stats_json"),
        ]

    def _types_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(partial(type_pages.types_page, site=self.admin_site))
        return [
            path("types/", page, name="emailqueue_types"),
            path("types/html/", self.admin_site.admin_view(type_pages.type_html), name="emailqueue_type_html"),
        ]

    def _one(self, request: HttpRequest, object_id: str, *, act: Any, verb: str) -> HttpResponseBase:
        """Do a verb to one letter, if the user may."""
        if not may(request.user, {"edit": "retry", "preview": "view_body"}.get(verb, verb)):
            raise PermissionDenied
        letter = get_object_or_404(self.get_queryset(request), pk=unquote(object_id))
        answer: HttpResponseBase = act(self, request, letter)
        return answer

    # Several letters

    @admin.action(permissions=["retry"], description=_("Retry selected dead letters"))
    def retry(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Retry the selection as it is."""
        return several.retry(self, request, queryset)

    @admin.action(permissions=["discard"], description=_("Discard selected dead letters"))
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Ask for a reason, then discard what was selected when it was asked."""
        return several.discard(self, request, queryset)

    @admin.action(permissions=["export"], description=_("Export selected dead letters as CSV"))
    def export_csv(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponseBase:
        """Return a file for a spreadsheet."""
        return several.export(request, form="CSV")

    @admin.action(permissions=["export"], description=_("Export selected dead letters as JSON"))
    def export_json(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponseBase:
        """Return a file for a program."""
        return several.export(request, form="JSON")

    # Permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: DeadLetter | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: DeadLetter | None = None) -> bool:
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may retry letters."""
        return may(request.user, "retry")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may discard letters."""
        return may(request.user, "discard")

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may take letters out as a file."""
        return may(request.user, "export")
