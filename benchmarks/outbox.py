"""
What the modes of the outbox cost: milliseconds, round trips to Redis and SQL statements for each call.

    uv run python -m benchmarks.outbox [--database postgresql://...]

Each call is made in a transaction of its own, against a Valkey that is started for it and, unless told otherwise,
SQLite. The modes take turns, so that a machine whose speed drifts is fair to all; the medians are printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROUNDS, CALLS = 9, 200
MODES = ("off", "failover", "always")
VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="address of a database to use in place of SQLite; its tables are created")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from emailqueue.redis.embedded import EmbeddedValkey

        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": "benchmark",  # and no DEBUG, which keeps each statement
            "DATABASE_URL": asked.database or f"sqlite:///{folder}/db.sqlite3",
        }
        with EmbeddedValkey(Path(folder) / "valkey") as server:
            os.environ["REDIS_URL"] = server.url
            measure()


def measure() -> None:
    """Measure each mode and print what it costs."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)

    from django.conf import settings
    from django.db import connection
    from django.test.utils import override_settings

    from emailqueue.redis import connect

    one()  # loads the script
    costs = {mode: Costs() for mode in MODES}
    for _turn in range(ROUNDS):
        for mode in MODES:
            with override_settings(EMAIL_QUEUE={**settings.EMAIL_QUEUE, "OUTBOX": mode}):
                costs[mode].take()
            connect().flushall()

    print(f"{connection.vendor}, Python {platform.python_version()}, Django {django.__version__}")
    print(f"{'mode':10}{'ms a call':>10}{'round trips':>13}{'INSERTs':>9}{'ms for 1,000':>14}{'round trips':>13}")
    for mode, cost in costs.items():
        single, many = statistics.median(cost.single), statistics.median(cost.bulk)
        print(f"{mode:10}{single:10.2f}{cost.trips:13}{cost.inserts:9}{many:14.0f}{cost.trips_of_bulk:13}")


@dataclass(slots=True)
class Costs:
    """What one mode costs."""

    single: list[float] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)
    trips: int = 0
    trips_of_bulk: int = 0
    inserts: int = 0

    def take(self) -> None:
        """Measure once more, in the mode that the settings name."""
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        began = time.perf_counter()
        for _ in range(CALLS):
            one()
        self.single.append((time.perf_counter() - began) / CALLS * 1000)
        began = time.perf_counter()
        bulk()
        self.bulk.append((time.perf_counter() - began) * 1000)
        with CaptureQueriesContext(connection) as queries:
            self.trips = round_trips(one)
        self.inserts = sum(query["sql"].startswith("INSERT") for query in queries)
        self.trips_of_bulk = round_trips(bulk)


def one() -> None:
    """Queue one mail in a transaction."""
    from django.db import transaction

    from events import queue_vote_confirmation

    with transaction.atomic():
        queue_vote_confirmation("ada@example.com", VOTE)


def bulk() -> None:
    """Queue a thousand mails in a transaction."""
    from django.db import transaction

    from emailqueue import queue_bulk_emails

    with transaction.atomic():
        queue_bulk_emails("vote-confirmation", [f"fan-{number}@example.com" for number in range(1000)], VOTE)


def round_trips(call: Callable[[], None]) -> int:
    """Return how often Redis is asked during a call; each of our questions is one script."""
    from emailqueue.redis import connect

    redis: Any = connect()
    redis.config_resetstat()
    call()
    return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])


if __name__ == "__main__":
    main()
