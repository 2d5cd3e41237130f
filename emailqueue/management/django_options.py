"""The options of all of Django's commands, for verbs that have parsers of their own."""

from __future__ import annotations

from argparse import SUPPRESS

from django.core.management.base import BaseCommand, CommandParser


def django_options(command: BaseCommand) -> CommandParser:
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
