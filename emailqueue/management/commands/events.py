"""`manage.py events VERB`."""

from emailqueue.management.command import VerbCommand, by_name
from emailqueue.management.event_verbs import list, simulate, trace


class Command(VerbCommand):
    help = "Show topics and subscribers, what became of an event, or what publishing one would do."
    verbs = by_name(list, simulate, trace)
