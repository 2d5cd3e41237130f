"""The statistics page, its JSON, and its buttons, which pause and resume queues and set the limit."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from redis import RedisError

from emailqueue import flow
from emailqueue.conf import get_settings
from emailqueue.dead_letters.actions import record
from emailqueue.errors import EmailQueueError
from emailqueue.jobs.priority import QUEUES
from emailqueue.statistics.figures import COUNTED, as_json, has_token, open_dead_letters, take
from emailqueue.statistics.panels import panels_of
from emailqueue.statistics.plots import Line, plot
from emailqueue.statistics.snapshot import Period, Snapshot


def urls(site: AdminSite) -> list[URLPattern]:
    page, buttons = (site.admin_view(partial(view, site=site)) for view in (stats_page, control))
    # Not admin_view: it sends whom it does not know to the login page, and a program has a token.
    json = never_cache(partial(stats_json, site=site))
    return [
        path("stats/", page, name="emailqueue_stats"),
        path("stats/control/", buttons, name="emailqueue_stats_control"),
        path("stats.json", json, name="emailqueue_stats_json"),
    ]


def stats_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Return the page, or with ?part=1 its inner part, which the script fetches every few seconds."""
    context: dict[str, Any] = {"title": _("E-mail queue: statistics")}
    try:
        context |= _shown(take())
    except (RedisError, OSError) as error:
        context["redis_error"] = type(error).__name__
    if "part" in request.GET:
        return TemplateResponse(request, "admin/emailqueue/stats/part.html", context)
    return TemplateResponse(request, "admin/emailqueue/stats/page.html", {**site.each_context(request), **context})


def stats_json(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Return the figures for programs: to staff, and to whoever has the token."""
    if not (has_token(request) or site.has_permission(request)):
        answer = {"error": "Send the token of EMAIL_QUEUE['STATS_TOKEN'] as a bearer, or log in as staff."}
        return JsonResponse(answer, status=401, headers={"WWW-Authenticate": "Bearer"})
    try:
        return JsonResponse(as_json(take()))
    except (RedisError, OSError):
        return JsonResponse({"error": "Redis does not answer."}, status=503)


@require_POST
@permission_required("emailqueue.control_queues", raise_exception=True)
def control(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Do what the button says, and write it into the admin's history."""
    try:
        message = _press(request)
    except EmailQueueError as error:
        messages.error(request, str(error))
    else:
        record(request.user.pk, message, about=_("e-mail queue"))
        messages.success(request, message)
    return HttpResponseRedirect(reverse("admin:emailqueue_stats", current_app=site.name))


def _press(request: HttpRequest) -> str:
    if queue := request.POST.get("pause"):
        flow.pause(queue)
        return _("Paused the queue %(queue)s.") % {"queue": queue}
    if queue := request.POST.get("resume"):
        flow.resume(queue)
        return _("Resumed the queue %(queue)s.") % {"queue": queue}
    rate = request.POST.get("limit", "").strip()
    limit = flow.set_limit(rate) if rate else flow.reset_limit()
    return _("The limit is %(limit)s now.") % {"limit": limit}


def _shown(snapshot: Snapshot) -> dict[str, Any]:
    counts, count = snapshot.counts, open_dead_letters(snapshot)
    limit, paused = flow.limit_in(counts.flow, get_settings()), flow.paused_in(counts.flow)
    return {
        "snapshot": snapshot,
        "at": datetime.fromtimestamp(snapshot.now, UTC),
        "waiting": counts.of(*QUEUES).waiting,
        "dead_letters": min(count, COUNTED),
        "more": count > COUNTED,
        "p50": snapshot.latency(0.5),
        "p95": snapshot.latency(0.95),
        "limit": limit,
        "use": min(100, round(100 * snapshot.rate / limit.rate)) if limit.rate else None,
        "queues": [(queue, queue in paused) for queue in QUEUES],
        "paused": ", ".join(paused),
        "outages": flow.outages_in(counts.flow).items(),
        "throttled": ", ".join(counts.throttled),
        "plots": [
            _plot(snapshot.minutes, title=_("Per minute, the last hour"), form="%H:%M", every=10),
            _plot(snapshot.hours, title=_("Per hour, the last two days"), form="%a %H:%M", every=6),
        ],
        "panels": panels_of(snapshot),
    }


def _plot(periods: Sequence[Period], *, title: str, form: str, every: int) -> dict[str, Any]:
    moments = [timezone.localtime(datetime.fromtimestamp(period.begins, UTC)) for period in periods]
    numbers = [moment.minute if every == 10 else moment.hour for moment in moments]
    names = {"sent": _("sent"), "retried": _("retried"), "dead": _("dead-lettered")}
    lines = [
        Line(name=name, kind=kind, values=[getattr(period, kind) for period in periods]) for kind, name in names.items()
    ]
    ticks = [(index, moments[index].strftime("%H:%M")) for index, each in enumerate(numbers) if each % every == 0]
    svg = plot(title=title, ticks=ticks, spans=[moment.strftime(form) for moment in moments], lines=lines)
    return {"title": title, "svg": svg, "lines": [(line.kind, line.name, sum(line.values)) for line in lines]}
