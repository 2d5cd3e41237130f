"""The link from a dead letter to the event that led to it."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from emailqueue.dead_letters.origins import Origin
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.models import DeadLetter


def event_of(letter: DeadLetter, user: Any) -> Origin | None:
    """Return the way to the trail of the letter's event, for who may see trails."""
    if not (letter.cause or letter.queue == EVENT_QUEUE) or not user.has_perm("emailqueue.view_eventtrail"):
        return None
    return Origin(
        label=_("Trail of its event"),
        url=f"{reverse('admin:emailqueue_eventtrail_changelist')}?{urlencode({'id': letter.pk})}",
    )
