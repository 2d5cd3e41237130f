"""`manage.py events VERB`."""

from __future__ import annotations

from emailqueue.management.command import VerbCommand
from emailqueue.management.event_verbs import list, simulate, trace


class Command(VerbCommand):
    """Shows the event bus."""

    help = "Show topics and subscribers, what became of an event, or what publishing one would do."
    verbs = {"list": list, "simulate": simulate, "trace": trace}
