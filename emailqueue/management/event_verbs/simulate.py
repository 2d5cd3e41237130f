"""The mails that an event would lead to. Subscribers are run; nothing is queued or sent."""

import json as json_module
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from emailqueue.events.simulation import SimulatedRun, simulate
from emailqueue.management.command import Answer

REAL = (
    "Nothing was queued, and databases were rolled back. What else the subscribers did, such as calling another "
    "service, was real."
)
ARGUMENTS = {
    "topic": {"help": "name of the topic: order.shipped"},
    "payload": {"help": "the payload as a JSON object"},
    "--json": {"action": "store_true", "help": "print one JSON value"},
}


def run(*, topic: str, payload: str, json: bool, **options: Any) -> Answer:
    try:
        given = json_module.loads(payload)
    except ValueError as error:
        raise CommandError(f"The payload is no JSON: {error}.") from error
    runs = simulate(topic, given)
    if json:
        return Answer(text=json_module.dumps([asdict(run) for run in runs]), note=REAL)
    lines = [line for run in runs for line in _lines(run)]
    return Answer(text="\n".join(lines or ["Nobody is subscribed."]), note=REAL)


def _lines(run: SimulatedRun) -> Iterator[str]:
    yield f"{run.topic} → {run.subscriber}: {run.result}{f': {run.reason}' if run.reason else ''}"
    for job in run.queued:
        due = f" · due {job.due}" if job.due else ""
        context = json_module.dumps(job.context, ensure_ascii=False)
        yield f"    {job.type} · {job.to or 'event'} · {job.queue}{due} · {context}"
