"""What `manage.py emailqueue` and `manage.py events` share: each verb is a module of its own."""

import sys
from argparse import SUPPRESS, Action
from collections.abc import Mapping
from copy import copy
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
        """Give each verb a parser of its own, which knows Django's options: `manage.py COMMAND VERB --settings x`."""
        inherited = [_without_default(each) for each in parser._actions if each.dest != "help"]  # noqa: SLF001
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for name, verb in self.verbs.items():
            own = verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__)
            for argument, options in verb.ARGUMENTS.items():
                own.add_argument(argument, **options)
            group = own.add_argument_group("options of all of Django's commands")
            for each in inherited:
                group._add_action(each)  # noqa: SLF001 - as argparse does with the options of a parent

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


def by_name(*verbs: ModuleType) -> dict[str, ModuleType]:
    """Return verbs by the last part of their modules' names."""
    return {verb.__name__.rpartition(".")[2]: verb for verb in verbs}


def _without_default(option: Action) -> Action:
    # A default would take back what is said before the verb.
    option = copy(option)
    option.default = SUPPRESS
    return option
