"""Show queues, rates, latency and workers, once or as a view that keeps itself up to date."""

import json as json_module
import math
import os
import sys
import time
from argparse import ArgumentTypeError
from typing import Any

from django.core.management import CommandError
from django.db import DatabaseError
from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.redis.problems import asking_redis
from emailqueue.statistics.figures import as_json, open_dead_letters, take
from emailqueue.statistics.terminal import screen

CLEAR = "\x1b[H\x1b[2J"
"""To the first place, and erase all (ECMA-48)."""


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is no time between two looks. Use seconds, 0.1 or more, for example 2.")
    return seconds


ARGUMENTS = {
    "--watch": {"type": _seconds, "metavar": "SECONDS", "help": "show it anew every so many seconds, until Ctrl+C"},
    "--json": {"action": "store_true", "help": "one JSON object a line, as stats.json in the admin has it"},
}


def run(*, watch: float | None, json: bool, out: Any, **options: Any) -> str:
    """Return the figures, or print them again and again. Raises errors at the start alone."""
    try:
        with asking_redis(effect="there are no figures"):
            text = _figures(json=json)
    except DatabaseError as error:
        # Without its text, which may quote a row.
        sentence = f"The database did not answer, so there are no figures: {type(error).__name__}."
        raise CommandError(f"{sentence} Is it there, and is `manage.py migrate` done?") from error
    if watch is None:
        return text
    try:
        _watch(text, json=json, seconds=watch, out=out)
    except BrokenPipeError:
        # The reader has gone, as `head` does. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    return ""


def _watch(text: str, *, json: bool, seconds: float, out: Any) -> None:
    clear = CLEAR if out.isatty() and not json else ""
    while True:
        out.write(f"{clear}{text}\n")
        out.flush()
        time.sleep(seconds)
        try:
            text = _figures(json=json)
        except (RedisError, RedisUnavailable, DatabaseError, OSError) as error:
            server = "The database" if isinstance(error, DatabaseError) else "Redis"
            sentence = f"{server} does not answer: {type(error).__name__}."
            text = json_module.dumps({"error": sentence}) if json else sentence


def _figures(*, json: bool) -> str:
    snapshot = take()
    if json:
        return json_module.dumps(as_json(snapshot))
    return screen(snapshot, get_settings(), dead_letters=open_dead_letters(snapshot))
