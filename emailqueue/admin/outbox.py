"""The outbox in the admin: what waits in the database for Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from emailqueue.models import OutboxRow

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[OutboxRow]
else:
    ModelAdmin = admin.ModelAdmin


class OutboxRowAdmin(ModelAdmin):
    """Read-only: a row goes by itself. Its content is not shown, since who sees the outbox need not see mails."""

    list_display = ["job_id", "label", "queue", "pushed", "created_at"]
    list_filter = ["pushed"]
    fields = ["job_id", "label", "queue", "pushed", "created_at"]
    search_fields = ["job_id__startswith"]
    search_help_text = _("Beginning of a job id")
    ordering = ["pk"]
    show_full_result_count = False
    actions = None

    @admin.display(description=_("type"))
    def label(self, row: OutboxRow) -> str:
        """Return the e-mail type or the topic."""
        return str(row.job.get("label", ""))

    @admin.display(description=_("queue"))
    def queue(self, row: OutboxRow) -> str:
        """Return the queue that it is meant for."""
        return str(row.job.get("queue", ""))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: OutboxRow | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: OutboxRow | None = None) -> bool:
        return False
