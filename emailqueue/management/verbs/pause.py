"""Hand out no more of some queues, or of all mail queues."""

from collections.abc import Sequence
from typing import Any

from emailqueue import flow

ARGUMENTS = {"queues": {"nargs": "*", "metavar": "QUEUE", "help": "left out: all mail queues"}}


def run(*, queues: Sequence[str], **options: Any) -> str:
    return f"paused: {', '.join(flow.pause(*queues))}"
