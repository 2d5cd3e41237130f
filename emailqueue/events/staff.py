"""What staff see of the bus on other pages of the admin: figures, and the link from a dead letter to its event."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from emailqueue.dead_letters.origins import Origin
from emailqueue.events.stats import event_stats_of
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.models import DeadLetter
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


def event_of(letter: DeadLetter, user: Any) -> Origin | None:
    """Return the link to the trail of the dead letter's event, for those who may see trails."""
    if not (letter.cause or letter.queue == EVENT_QUEUE) or not user.has_perm("emailqueue.view_eventtrail"):
        return None
    url = f"{reverse('admin:emailqueue_eventtrail_changelist')}?{urlencode({'id': letter.pk})}"
    return Origin(label=_("Trail of its event"), url=url)
