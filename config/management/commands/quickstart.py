"""Which command shows the whole queue at work on one machine."""

import argparse
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from config.quickstart.report import Progress, summary, where_to_look
from config.quickstart.run import deliver_sample, running, start_web, stay, wait_for_web
from config.quickstart.tally import Tally
from config.quickstart.workspace import Workspace

RUN = "QUICKSTART_RUN"
"""Set in the environment of the process that has the settings of the quickstart."""


class Command(BaseCommand):
    """Start everything, deliver the sample, say what came of it."""

    help = "Run the queue with its own Redis, mail server, workers and web, and deliver a sample of mails."
    requires_system_checks = []  # they would speak of the user's settings

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--exit", action="store_true", help="Leave out the web, and end when all is delivered.")
        parser.add_argument("--json", action="store_true", help="Print the result as one JSON object, last.")
        parser.add_argument(
            "--state",
            type=Path,
            default=settings.BASE_DIR / ".quickstart",
            metavar="DIR",
            help="Folder for database, logs and mails; emptied at the start. Default: .quickstart",
        )

    def handle(self, **options: Any) -> None:
        folder = options["state"].resolve()
        if RUN not in os.environ:
            start_again_with(Workspace(folder=folder))
        # Explicitly: a process that a shell has started in the background ignores SIGINT.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        logging.disable(logging.INFO)
        try:
            tally = self._run(Workspace(folder=folder, run=os.environ[RUN]), **options)
        except KeyboardInterrupt:
            raise CommandError("Stopped before all was delivered.", returncode=130) from None
        if options["json"]:
            self.stdout.write(json.dumps(tally.as_json()))
        if not tally.settled:
            raise CommandError(f"{tally.lost} mails are lost, {tally.underway} jobs are not settled.")

    def _run(self, workspace: Workspace, **options: Any) -> Tally:
        out = self.stderr if options["json"] else self.stdout
        self.stderr.style_func = None
        out.write("Starting Valkey, a mail server and two workers.")
        shown = Progress()
        with running(workspace) as parts:
            address = "" if options["exit"] else start_web(parts)
            try:
                tally, seconds = deliver_sample(parts, shown)
            finally:
                shown.end()
            out.write(summary(tally, seconds=seconds))
            if address:
                wait_for_web(parts, address)
                out.write(where_to_look(workspace, address=address, password=parts.password))
                stay(parts)
                out.write("\nStopping.")
        return tally


def start_again_with(workspace: Workspace) -> None:
    """Become this very command with the settings of the quickstart."""
    # Settings are read once, from the environment, so that a second start is the only clean way to others.
    environ = workspace.environment(os.environ) | {RUN: workspace.run}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 - this very command
