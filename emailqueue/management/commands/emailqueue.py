"""`manage.py emailqueue VERB`: each verb is a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from emailqueue.errors import EmailQueueError
from emailqueue.management.verbs import limit, pause, preview, purge, resume

VERBS: Mapping[str, ModuleType] = {
    "limit": limit,
    "pause": pause,
    "preview": preview,
    "purge": purge,
    "resume": resume,
}
"""A verb's module has its help as docstring, add_arguments(parser), and run(**options), which returns what to print."""


class Command(BaseCommand):
    """Looks after the e-mail queue."""

    help = "Look after the e-mail queue."

    def add_arguments(self, parser: CommandParser) -> None:
        """Give each verb a parser of its own."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for name, verb in VERBS.items():
            verb.add_arguments(verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__))

    def handle(self, *args: Any, verb: str, **options: Any) -> str:
        """Run the verb; its errors end the command with their sentence."""
        try:
            return str(VERBS[verb].run(**options))
        except EmailQueueError as error:
            raise CommandError(str(error)) from error
