"""What the pages of our tables have in common: most are read-only, and all use one style sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse

Row = TypeVar("Row", bound=Model)

if TYPE_CHECKING:

    class _ModelAdmin(admin.ModelAdmin[Row]):
        pass
else:

    class _ModelAdmin(admin.ModelAdmin, Generic[Row]):
        pass


class QueueAdmin(_ModelAdmin[Row]):
    """A table whose rows nobody deletes by hand."""

    show_full_result_count = False

    class Media:
        css = {"all": ["emailqueue/admin.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False

    def page(self, request: HttpRequest, name: str, **context: Any) -> TemplateResponse:
        """Return a page of this table that is not one of Django's."""
        common = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, f"admin/emailqueue/{self.opts.model_name}/{name}.html", {**common, **context})


class ReadOnlyAdmin(QueueAdmin[Row]):
    """A table whose rows nobody adds or changes by hand, either."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False
