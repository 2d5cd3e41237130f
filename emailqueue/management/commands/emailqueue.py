"""`manage.py emailqueue VERB`: each verb is a module of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from emailqueue.errors import EmailQueueError
from emailqueue.management.answer import Answer
from emailqueue.management.django_options import django_options
from emailqueue.management.verbs import alive, doctor, limit, pause, preview, purge, resume, stats
from emailqueue.models.database_report import told

VERBS: Mapping[str, ModuleType] = {
    "alive": alive,
    "doctor": doctor,
    "limit": limit,
    "pause": pause,
    "preview": preview,
    "purge": purge,
    "resume": resume,
    "stats": stats,
}
"""A verb's module has its help as docstring, add_arguments(parser), and run(**options), which returns what to print."""


class Command(BaseCommand):
    """Looks after the e-mail queue."""

    help = "Look after the e-mail queue."
    # They would keep the doctor from telling what is wrong, and cost a probe its time.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Give each verb a parser of its own."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        parents = [django_options(self)]
        for name, verb in VERBS.items():
            verb.add_arguments(verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__, parents=parents))

    def handle(self, *args: Any, verb: str, **options: Any) -> str:
        """Run the verb; its errors end the command with their sentence."""
        try:
            answer = VERBS[verb].run(out=self.stdout, **options)
        except EmailQueueError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(told(error)) from error
        if isinstance(answer, Answer) and answer.status:
            self.stdout.write(answer.text)
            sys.exit(answer.status)
        return answer.text if isinstance(answer, Answer) else str(answer)
