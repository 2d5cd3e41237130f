"""What the pages of our tables have in common: most are read-only, and all use one style sheet."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse

AT_ONCE = 1000
"""Rows that one request changes or exports."""


class QueueAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """A table whose rows nobody deletes by hand."""

    show_full_result_count = False

    class Media:
        css = {"all": ["emailqueue/admin.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def page(self, request: HttpRequest, name: str, **context: Any) -> TemplateResponse:
        """Return a page of this table that is not one of Django's."""
        common = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        template = f"admin/emailqueue/{self.opts.model_name}/{name}.html"
        return TemplateResponse(request, template, {**common, **context})


class ReadOnlyAdmin(QueueAdmin):
    """A table whose rows nobody adds or changes by hand, either."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
