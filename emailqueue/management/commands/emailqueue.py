"""`manage.py emailqueue VERB`."""

from emailqueue.management.command import VerbCommand, by_name
from emailqueue.management.verbs import alive, doctor, limit, pause, preview, purge, resume, starter, stats

VERBS = by_name(alive, doctor, limit, pause, preview, purge, resume, starter, stats)


class Command(VerbCommand):
    help = "Look after the e-mail queue."
    verbs = VERBS
    # They would keep the doctor from reporting what is wrong, and cost a probe its time.
    requires_system_checks = []
