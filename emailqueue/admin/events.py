"""What staff see of events: the page that answers why a mail did or did not go out."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from emailqueue.admin.base import ReadOnlyAdmin
from emailqueue.errors import RedisUnavailable, UnknownEvent
from emailqueue.events.trail import read_trail
from emailqueue.models import EventTrail


@admin.register(EventTrail)
class EventTrailAdmin(ReadOnlyAdmin):
    """One page, with ?id= of an event, of a mail that it led to, or of a dead letter."""

    def get_urls(self) -> list[URLPattern]:
        """Give the page the name of a change list, to which the index of the admin links."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="emailqueue_eventtrail_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        given = request.GET.get("id", "").strip()
        found = _find(given) if given else {}
        return self.page(request, "trail", title=_("Event trail"), given=given, **found)


def _find(given: str) -> dict[str, Any]:
    """Return the trail, or what to show instead."""
    try:
        trail = read_trail(given)
    except UnknownEvent:
        problem = _(
            "This id leads to no trail: it is unknown, its trail has expired, or the mail was queued without an event."
        )
        return {"problem": problem}
    except RedisUnavailable:
        return {"problem": _("Redis does not answer, and the trails are kept there. Try again in a moment.")}
    return {"trail": trail, "subtitle": trail.topic, "payload": json.dumps(trail.payload, indent=2, ensure_ascii=False)}
