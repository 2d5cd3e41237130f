"""The statistics page and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.dead_letters.permissions import may_control
from emailqueue.flow import limit_in, outages_in, paused_in
from emailqueue.jobs.priority import QUEUES
from emailqueue.statistics.figures import COUNTED, as_json, open_letters, take
from emailqueue.statistics.panels import panels_of
from emailqueue.statistics.plots import Line, plot
from emailqueue.statistics.snapshot import Period, Snapshot
from emailqueue.statistics.token import has_token


def stats_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Return the page, or with ?part=1 its inner part, for which the script asks every few seconds."""
    context: dict[str, Any] = {"title": _("E-mail queue: statistics"), "may_control": may_control(request.user)}
    try:
        context |= _shown(take())
    except (RedisError, OSError) as error:
        context["redis_error"] = type(error).__name__
    if "part" in request.GET:
        return TemplateResponse(request, "admin/emailqueue/stats/part.html", context)
    return TemplateResponse(request, "admin/emailqueue/stats/page.html", {**site.each_context(request), **context})


def stats_json(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Return the figures for programs: to staff, or to who has the token."""
    if not (has_token(request) or site.has_permission(request)):
        answer = {"error": "Send the token of EMAIL_QUEUE['STATS_TOKEN'] as a bearer, or log in as staff."}
        return JsonResponse(answer, status=401, headers={"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"})
    try:
        figures = as_json(take())
    except (RedisError, OSError):
        return JsonResponse({"error": "Redis does not answer."}, status=503, headers={"Cache-Control": "no-store"})
    return JsonResponse(figures, headers={"Cache-Control": "no-store"})


def _shown(snapshot: Snapshot) -> dict[str, Any]:
    counts = snapshot.counts
    in_force = limit_in(counts.flow, get_settings())
    limit, paused = in_force.rate, paused_in(counts.flow)
    letters = open_letters(snapshot)
    return {
        "at": datetime.fromtimestamp(snapshot.now, UTC),
        "waiting": sum(now[0] for now in snapshot.counts.now.values()),
        "letters": min(letters, COUNTED),
        "more": letters > COUNTED,
        "p50": snapshot.latency(0.5),
        "p95": snapshot.latency(0.95),
        "rate": snapshot.rate,
        "limit": limit,
        "use": min(100, round(100 * snapshot.rate / limit)) if limit else None,
        "suspended": snapshot.suspended,
        "in_force": in_force,
        "queues": [(queue, queue in paused) for queue in QUEUES],
        "paused": ", ".join(paused),
        "outages": outages_in(counts.flow).items(),
        "slowed": ", ".join(counts.throttled),
        "plots": [
            _plot(snapshot.minutes, title=_("Per minute, the last hour"), form="%H:%M", every=10),
            _plot(snapshot.hours, title=_("Per hour, the last two days"), form="%a %H:%M", every=6),
        ],
        "panels": panels_of(snapshot),
    }


def _plot(periods: Sequence[Period], *, title: str, form: str, every: int) -> dict[str, Any]:
    moments = [timezone.localtime(datetime.fromtimestamp(period.begins, UTC)) for period in periods]
    number = [moment.minute if every == 10 else moment.hour for moment in moments]
    spans = [moment.strftime(form) for moment in moments]
    lines = [
        Line(name=_("sent"), kind="sent", values=[period.sent for period in periods]),
        Line(name=_("retried"), kind="retried", values=[period.retried for period in periods]),
        Line(name=_("dead"), kind="dead", values=[period.dead for period in periods]),
    ]
    ticks = [(index, moments[index].strftime("%H:%M")) for index, each in enumerate(number) if each % every == 0]
    svg = plot(title=title, ticks=ticks, spans=spans, lines=lines)
    return {"title": title, "svg": svg, "lines": [(line.kind, line.name, sum(line.values)) for line in lines]}
