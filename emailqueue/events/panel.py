"""What the statistics in the admin show of the event bus."""

from __future__ import annotations

from django.utils.translation import gettext as _

from emailqueue.events.stats import event_stats_of
from emailqueue.statistics.panels import Panel
from emailqueue.statistics.snapshot import Snapshot


def events_panel(snapshot: Snapshot) -> Panel:
    """Return a row for each topic, and one for each of its subscribers."""
    rows: list[tuple[object, ...]] = []
    for topic, figures in event_stats_of(snapshot.counts).topics.items():
        rows.append((topic, "", figures.published, "", ""))
        rows += [(topic, name, "", each.run, each.failed) for name, each in figures.subscribers.items()]
    return Panel(
        title=_("Events"),
        columns=(_("topic"), _("subscriber"), _("published"), _("run"), _("dead")),
        rows=rows,
        note=_("Since counting began."),
    )
