"""The bulk actions in the admin: how far each is, and the button that stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from emailqueue.dead_letters import actions as verbs
from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.selection import Selection
from emailqueue.models.bulk_action import BulkAction

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[BulkAction]
else:
    ModelAdmin = admin.ModelAdmin


class BulkActionAdmin(ModelAdmin):
    """Read-only, but for Stop, which wants the permission for the verb itself."""

    list_display = ["__str__", "verb", "state", "done", "refused", "user_name", "created_at", "finished_at"]
    ordering = ["-pk"]
    actions = None

    class Media:
        css = {"all": ["emailqueue/review.css"]}
        js = ["emailqueue/refresh.js"]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show how far it is; the script asks for the inner part again every second."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        bulk = get_object_or_404(BulkAction, pk=_number(object_id))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Bulk action"),
            "opts": self.opts,
            "media": self.media,
            "bulk": bulk,
            "words": Selection.of_json(bulk.selection).words(),
            "may_stop": bulk.active and may(request.user, bulk.verb),
        }
        name = "part" if "part" in request.GET else "change_form"
        return TemplateResponse(request, f"admin/emailqueue/bulkaction/{name}.html", context)

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop it before its next letter."""
        bulk = get_object_or_404(BulkAction, pk=_number(object_id))
        if not may(request.user, bulk.verb):
            raise PermissionDenied
        if bulk.stop():
            about = gettext("Bulk action %(number)s stopped.") % {"number": bulk.pk}
            verbs.record(request.user.pk, about, about=str(bulk))
            messages.success(request, gettext("Stopped. Letters that it has not reached are as they were."))
        else:
            messages.info(request, gettext("It had ended already."))
        return HttpResponseRedirect(reverse("admin:emailqueue_bulkaction_change", args=[bulk.pk]))

    def get_urls(self) -> list[URLPattern]:
        """Put Stop before Django's own addresses, whose last one takes everything."""
        stop = self.admin_site.admin_view(self.stop_view)
        return [path("<path:object_id>/stop/", stop, name="emailqueue_bulkaction_stop"), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: BulkAction | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: BulkAction | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: BulkAction | None = None) -> bool:
        """Return whether the user may view letters: this tells of nothing else."""
        return may(request.user, "view")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, "view")


def _number(object_id: str) -> int:
    text = unquote(object_id)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
