"""The bulk actions in the admin: how far each is, and the button that stops it."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from emailqueue.admin.base import ReadOnlyAdmin
from emailqueue.dead_letters.actions import may, record
from emailqueue.dead_letters.selection import Selection
from emailqueue.models import BulkAction


@admin.register(BulkAction)
class BulkActionAdmin(ReadOnlyAdmin):
    """Read-only, except for Stop, which requires the permission for the action itself."""

    list_display = ["__str__", "action", "state", "done", "refused", "user_name", "created_at", "finished_at"]
    ordering = ["-pk"]
    actions = None

    class Media:
        js = ["emailqueue/refresh.js"]

    def get_urls(self) -> list[URLPattern]:
        """Put ours before Django's own addresses, whose last one takes everything."""
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/change/", view(self.progress_view), name="emailqueue_bulkaction_change"),
            path("<int:pk>/stop/", view(require_POST(self.stop_view)), name="emailqueue_bulkaction_stop"),
            *super().get_urls(),
        ]

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how far it is; the script fetches the inner part again every second."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        bulk = get_object_or_404(BulkAction, pk=pk)
        return self.page(
            request,
            "part" if "part" in request.GET else "change_form",
            title=_("Bulk action"),
            bulk=bulk,
            selection=Selection(**bulk.selection).describe(),
            may_stop=bulk.active and may(request.user, bulk.action),
        )

    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        bulk = get_object_or_404(BulkAction, pk=pk)
        if not may(request.user, bulk.action):
            raise PermissionDenied
        if bulk.stop():
            record(request.user.pk, gettext("Bulk action %(number)s stopped.") % {"number": pk}, about=str(bulk))
            messages.success(request, gettext("Stopped. Dead letters that it had not reached yet are unchanged."))
        else:
            messages.info(request, gettext("It had already ended."))
        return redirect("admin:emailqueue_bulkaction_change", pk)

    def has_view_permission(self, request: HttpRequest, obj: BulkAction | None = None) -> bool:
        """Return whether the user may view dead letters: nothing else is shown here."""
        return may(request.user, "view")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)
