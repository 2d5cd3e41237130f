"""`manage.py emailqueue VERB`."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from emailqueue.management.command import VerbCommand
from emailqueue.management.verbs import alive, doctor, limit, pause, preview, purge, resume, starter, stats

VERBS: Mapping[str, ModuleType] = {
    "alive": alive,
    "doctor": doctor,
    "limit": limit,
    "pause": pause,
    "preview": preview,
    "purge": purge,
    "resume": resume,
    "starter": starter,
    "stats": stats,
}


class Command(VerbCommand):
    """Looks after the e-mail queue."""

    help = "Look after the e-mail queue."
    verbs = VERBS
    # They would keep the doctor from reporting what is wrong, and cost a probe its time.
    requires_system_checks = []
