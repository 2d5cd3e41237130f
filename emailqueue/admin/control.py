"""The verbs of the statistics page: pause and resume queues, and set the limit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from emailqueue import flow
from emailqueue.dead_letters import actions as verbs
from emailqueue.dead_letters.permissions import may_control
from emailqueue.errors import EmailQueueError


@require_POST
def control(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Do what the button says, and write it into the admin's history."""
    if not may_control(request.user):
        raise PermissionDenied
    try:
        done = _deed(request)()
    except EmailQueueError as error:
        messages.error(request, str(error))
    else:
        verbs.record(request.user.pk, done, about=_("e-mail queue"))
        messages.success(request, done)
    return HttpResponseRedirect(reverse("admin:emailqueue_stats", current_app=site.name))


def _deed(request: HttpRequest) -> Callable[[], str]:
    if queue := request.POST.get("pause"):
        return partial(_pause, queue)
    if queue := request.POST.get("resume"):
        return partial(_resume, queue)
    return partial(_limit, request.POST.get("limit", "").strip())


def _pause(queue: str) -> str:
    flow.pause(queue)
    return _("Paused the queue %(queue)s.") % {"queue": queue}


def _resume(queue: str) -> str:
    flow.resume(queue)
    return _("Resumed the queue %(queue)s.") % {"queue": queue}


def _limit(rate: str) -> str:
    limit = flow.set_limit(rate) if rate else flow.reset_limit()
    return _("The limit is %(limit)s now.") % {"limit": limit}
