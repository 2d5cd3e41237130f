"""Which commands show the event bus: its topics, what became of an event, and what one would do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError

from emailqueue.errors import EmailQueueError
from emailqueue.events.catalogue import catalogue
from emailqueue.events.report import REAL, catalogue_lines, simulation_lines, trail_lines
from emailqueue.events.simulation import simulate
from emailqueue.events.trail import read_trail
from emailqueue.management.django_options import django_options
from emailqueue.models.database_report import told


class Command(BaseCommand):
    """Show topics, trails and simulations."""

    help = "Show topics and subscribers, what became of an event, or what publishing one would do."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        parents = [django_options(self)]
        listing = verbs.add_parser(
            "list", help="Topics with their fields, subscribers, filters and figures.", parents=parents
        )
        listing.set_defaults(show=self._list)
        trace = verbs.add_parser("trace", help="What became of an event, and where its mails are now.", parents=parents)
        trace.add_argument("id", help="Id of an event, of a mail that it led to, or of a dead letter.")
        trace.set_defaults(show=self._trace)
        simulation = verbs.add_parser(
            "simulate",
            help="The mails that an event would lead to. Subscribers are run; nothing is queued or sent.",
            parents=parents,
        )
        simulation.add_argument("topic", help="Name of the topic: vote.created")
        simulation.add_argument("payload", help="The payload as a JSON object.")
        simulation.set_defaults(show=self._simulate)
        for verb in (listing, trace, simulation):
            verb.add_argument("--json", action="store_true", help="Print one JSON value.")

    def handle(self, *, show: Callable[..., None], **options: Any) -> None:
        try:
            show(**options)
        except EmailQueueError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(told(error)) from error

    def _list(self, **options: Any) -> None:
        topics = catalogue()
        self._show([asdict(topic) for topic in topics], catalogue_lines(topics), **options)

    def _trace(self, **options: Any) -> None:
        trail = read_trail(options["id"])
        self._show(asdict(trail), trail_lines(trail), **options)

    def _simulate(self, **options: Any) -> None:
        try:
            payload = json.loads(options["payload"])
        except ValueError as error:
            raise CommandError(f"The payload is no JSON: {error}.") from error
        runs = simulate(options["topic"], payload)
        self._show([asdict(run) for run in runs], simulation_lines(runs), **options)
        self.stderr.write(REAL)

    def _show(self, value: Any, lines: Iterable[str], **options: Any) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(value, default=datetime.isoformat))
            return
        for line in lines:
            self.stdout.write(line)
