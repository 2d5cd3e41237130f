"""The panels that are always there: queues, workers, what fails most, and events."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from emailqueue.events.stats import event_stats_of
from emailqueue.jobs.priority import QUEUES
from emailqueue.models import DeadLetter
from emailqueue.statistics.panels import Panel, register_panel
from emailqueue.statistics.snapshot import Snapshot

RECENT = 1000
"""Newest dead letters among which the top is found."""
TOP = 5


def register_builtin_panels() -> None:
    """Register them, in the order in which they are shown."""
    register_panel("queues", queues_panel)
    register_panel("workers", workers_panel)
    # Functions, so that titles are translated when they are shown.
    register_panel("failing_types", lambda _snapshot: _top("label", title=_("Failing types"), column=_("type")))
    register_panel(
        "failing_domains",
        lambda _snapshot: _top("recipient_domain", title=_("Failing domains"), column=_("domain")),
    )
    register_panel("events", events_panel)


def queues_panel(snapshot: Snapshot) -> Panel:
    """Return a row for each queue."""
    rows: list[tuple[object, ...]] = []
    for queue in QUEUES:
        now, oldest = snapshot.counts.of(queue), _seconds(snapshot.oldest[queue])
        rows.append((queue, now.waiting, now.active, now.delayed, oldest, now.completed, now.skipped, now.failed))
    return Panel(
        title=_("Queues"),
        columns=(
            _("queue"), _("waiting"), _("active"), _("delayed"), _("oldest waits (s)"), _("sent"), _("skipped"),
            _("dead-lettered"),
        ),
        rows=rows,
        note=_("Sent, skipped and dead-lettered: since counting began."),
    )  # fmt: skip


def workers_panel(snapshot: Snapshot) -> Panel:
    """Return a row for each worker of our queues."""
    return Panel(
        title=_("Workers"),
        columns=(_("worker"), _("state"), _("heard (s ago)"), _("succeeded"), _("failed"), _("queues")),
        rows=[
            (worker.name, worker.state, _seconds(worker.heartbeat), worker.done, worker.failed, worker.queues)
            for worker in snapshot.workers
        ],
        note="" if snapshot.workers else _("No worker runs: nothing is sent."),
    )


def events_panel(snapshot: Snapshot) -> Panel:
    """Return a row for each topic, and one for each of its subscribers."""
    rows: list[tuple[object, ...]] = []
    for topic, figures in event_stats_of(snapshot.counts).topics.items():
        rows.append((topic, "", figures.published, "", ""))
        rows += [(topic, name, "", each.run, each.failed) for name, each in figures.subscribers.items()]
    return Panel(
        title=_("Events"),
        columns=(_("topic"), _("subscriber"), _("published"), _("run"), _("dead-lettered")),
        rows=rows,
        note=_("Since counting began."),
    )


def _top(field: str, *, title: str, column: str) -> Panel:
    newest: Any = DeadLetter.objects.order_by("-dead_lettered_at").values("pk")[:RECENT]
    rows: Iterable[Any] = (
        DeadLetter.objects.filter(pk__in=newest)
        .exclude(**{field: ""})
        .values_list(field)
        .annotate(letters=Count("pk"))
        .order_by("-letters", field)[:TOP]
    )
    return Panel(
        title=title,
        columns=(column, _("dead letters")),
        rows=[tuple(row) for row in rows],
        note=_("Of the newest %(count)s dead letters.") % {"count": RECENT},
    )


def _seconds(value: float | None) -> object:
    return "" if value is None else round(value, 1)
