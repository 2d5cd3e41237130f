"""The outbox in the admin: what waits in the database for Redis."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from emailqueue.admin.base import ReadOnlyAdmin
from emailqueue.models import OutboxRow


@admin.register(OutboxRow)
class OutboxRowAdmin(ReadOnlyAdmin):
    """Read-only: rows leave by themselves. Content is not shown: who sees the outbox need not see mails."""

    list_display = ["job_id", "label", "queue", "pushed", "created_at"]
    fields = ["job_id", "label", "queue", "pushed", "created_at"]
    list_filter = ["pushed"]
    search_fields = ["job_id__startswith"]
    search_help_text = _("Beginning of a job id")
    ordering = ["pk"]
    actions = None

    @admin.display(description=_("type"))
    def label(self, row: OutboxRow) -> str:
        return str(row.job.get("label", ""))

    @admin.display(description=_("queue"))
    def queue(self, row: OutboxRow) -> str:
        return str(row.job.get("queue", ""))
