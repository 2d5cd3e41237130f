"""`manage.py emailqueue VERB`: the queue from the command line."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from emailqueue.errors import EmailQueueError
from emailqueue.retention import age, purge


class Command(BaseCommand):
    """One sub-command a verb."""

    help = "Look after the e-mail queue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
        purging = verbs.add_parser("purge", help="Delete dead letters that were closed long ago.")
        purging.add_argument(
            "--older-than", default="90d", metavar="AGE", help="Since they were closed: 90d, 12h, 2w. Default: 90d."
        )

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            getattr(self, f"_{verb}")(**options)
        except EmailQueueError as error:
            raise CommandError(str(error)) from error

    def _purge(self, *, older_than: str, verbosity: int = 1, **options: Any) -> None:
        def show(letters: int) -> None:
            if verbosity > 1:
                self.stdout.write(f"{letters:,} letters deleted so far")

        purged = purge(older_than=age(older_than), progress=show)
        self.stdout.write(
            f"Deleted {purged.letters:,} closed letters with {purged.attempts:,} attempts, and "
            f"{purged.bulk_actions:,} ended bulk actions, all older than {older_than}."
        )
