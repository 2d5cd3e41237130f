"""What `manage.py emailqueue` and `manage.py events` share: each verb is a module of its own."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from emailqueue.errors import EmailQueueError
from emailqueue.models.database_report import explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a verb returns when text alone is not enough."""

    text: str
    status: int = 0
    """With which the command exits."""

    note: str = ""
    """For the standard error, so that programs can read the text."""


class VerbCommand(BaseCommand):
    """A command whose first argument is a verb."""

    verbs: Mapping[str, ModuleType]
    """A verb's module has its help as docstring, ARGUMENTS for its parser, and run(**options), which answers."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Give each verb a parser of its own."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        parents = [_django_options(self)]
        for name, verb in self.verbs.items():
            own = verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__, parents=parents)
            for argument, options in verb.ARGUMENTS.items():
                own.add_argument(argument, **options)

    def handle(self, *args: Any, verb: str, **options: Any) -> str:
        """Run the verb; its errors end the command with their sentence."""
        try:
            answer = self.verbs[verb].run(out=self.stdout, **options)
        except EmailQueueError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(explain(error)) from error
        if not isinstance(answer, Answer):
            return str(answer)
        if answer.note:
            self.stderr.write(answer.note)
        if answer.status:
            self.stdout.write(answer.text)
            sys.exit(answer.status)
        return answer.text


def _django_options(command: BaseCommand) -> CommandParser:
    """
    Return a parent for the parsers of the verbs, so that `manage.py COMMAND VERB --settings x` is understood, too.

    It has no defaults: they would take back what is said before the verb.
    """
    parent = CommandParser(add_help=False, argument_default=SUPPRESS)
    group = parent.add_argument_group("options of all of Django's commands")
    group.add_argument("--version", action="version", version=command.get_version())
    group.add_argument("-v", "--verbosity", type=int, choices=[0, 1, 2, 3])
    group.add_argument("--settings")
    group.add_argument("--pythonpath")
    group.add_argument("--traceback", action="store_true")
    group.add_argument("--no-color", action="store_true")
    group.add_argument("--force-color", action="store_true")
    if command.requires_system_checks:
        group.add_argument("--skip-checks", action="store_true")
    return parent
