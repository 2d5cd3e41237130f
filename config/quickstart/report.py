"""What quickstart says while it runs and at its end."""

import sys
import time
from typing import TextIO

from django.urls import reverse

from config.quickstart.tally import Tally
from config.quickstart.workspace import RATE_LIMIT, Workspace
from emailqueue.conf import Settings

EVERY = 3.0
"""Seconds between two progress lines where lines cannot be overwritten."""


class Progress:
    """One line on a terminal that is written anew; elsewhere, a line every few seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._shown = self._began

    def show(self, text: str) -> None:
        """Say what goes on."""
        now = time.monotonic()
        line = f"{now - self._began:5.1f} s  {text}"
        if self._stream.isatty():
            self._stream.write(f"\r\033[K{line}")
        elif now - self._shown >= EVERY:
            self._shown = now
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line for what comes next."""
        if self._stream.isatty():
            self._stream.write("\r\033[K")
            self._stream.flush()


def progress(tally: Tally, *, mails: int) -> str:
    """Return the line for work that is under way."""
    figures = f"retried {tally.retried}, dead-lettered {tally.dead_lettered}"
    return f"{tally.delivered:,} of {mails:,} mails delivered, {figures}"


def summary(tally: Tally, *, seconds: float) -> str:
    """Return the table of what became of all mails."""
    usual = Settings().rate_limit
    rows = [
        ("published", tally.published, "events"),
        ("queued", tally.queued, "mails"),
        ("delivered", tally.delivered, "recipients have their mail"),
        ("retried", tally.retried, "attempts that the mail server put off (450)"),
        ("dead-lettered", tally.dead_lettered, "recipients that it refused for good (550)"),
        ("lost", tally.lost, "recipients with neither"),
        ("sent twice", tally.twice, "mails"),
    ]
    table = "\n".join(f"  {name:<14}{number:>6,}  {meaning}" for name, number, meaning in rows)
    return (
        f"\n{table}\n\n"
        f"  {seconds:.1f} seconds, {tally.delivered / seconds:.0f} mails/s. "
        f"The rate limit is {RATE_LIMIT} here, {usual:g}/s by default.\n"
    )


def where_to_look(workspace: Workspace, *, address: str, password: str) -> str:
    """Return where the results can be seen, and how to end."""
    rows = [
        ("Admin", f"{address}{reverse('admin:index')}", f"user admin, password {password}"),
        ("Dead letters", f"{address}{reverse('admin:emailqueue_deadletter_changelist')}", "retry, edit, discard"),
        ("Statistics", f"{address}{reverse('admin:emailqueue_stats')}", "rates, latency, workers"),
        ("Dashboard", f"{address}{reverse('admin:django_rq_dashboard_changelist')}", "queues, jobs, workers"),
        ("Mailbox", f"{address}{reverse('mailbox')}", "what the mail server received"),
        ("Mails", f"{workspace.mailbox}", "a file each"),
        ("Logs", f"{workspace.logs}", "a file each process"),
    ]
    width = max(len(place) for _, place, _ in rows)
    table = "\n".join(f"  {name:<14}{place:<{width}}  {remark}" for name, place, remark in rows)
    return f"\n{table}\n\n  Ctrl+C stops everything. Nothing outside {workspace.folder} was touched.\n"
