"""Hand out no more of some queues, or of all mail queues."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from emailqueue import flow


def add_arguments(parser: ArgumentParser) -> None:
    """Take any number of queues."""
    parser.add_argument("queues", nargs="*", metavar="QUEUE", help="left out: all mail queues")


def run(*, queues: Sequence[str], **options: Any) -> str:
    """Pause the queues, and say what is paused."""
    return f"paused: {', '.join(flow.pause(*queues))}"
