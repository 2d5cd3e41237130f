"""Hand out paused queues again, or all mail queues."""

from collections.abc import Sequence
from typing import Any

from emailqueue import flow

ARGUMENTS = {"queues": {"nargs": "*", "metavar": "QUEUE", "help": "left out: all mail queues"}}


def run(*, queues: Sequence[str], **options: Any) -> str:
    return f"paused: {', '.join(flow.resume(*queues)) or 'nothing'}"
