"""Hand out paused queues again, or all mail queues."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from emailqueue import flow


def add_arguments(parser: ArgumentParser) -> None:
    """Take any number of queues."""
    parser.add_argument("queues", nargs="*", metavar="QUEUE", help="left out: all mail queues")


def run(*, queues: Sequence[str], **options: Any) -> str:
    """Resume the queues, and say what is still paused."""
    return f"paused: {', '.join(flow.resume(*queues)) or 'nothing'}"
