"""Whether the database can take what it must: migrations, dead letters, the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db import connections, router
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from emailqueue.checks.finding import Finding, error, ok, warning
from emailqueue.conf import Settings
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.statistics.figures import COUNTED

LATE = timedelta(minutes=1)
"""Age from which on a row of the outbox should have reached Redis."""
STUCK = timedelta(minutes=10)


def migrations() -> Iterator[Finding]:
    """Look for migrations of our apps that are not applied."""
    connection = connections[router.db_for_write(DeadLetter)]
    loader = MigrationLoader(connection)
    ours = sorted(node for node in loader.graph.nodes if node[0] in ("emailqueue", "events"))
    missing = [f"{app}.{name}" for app, name in ours if (app, name) not in loader.applied_migrations]
    if missing:
        yield error(
            "database",
            "migrations",
            f"These migrations are not applied: {', '.join(missing)}.",
            "Run: manage.py migrate",
        )
    else:
        yield ok("database", "up-to-date", f"{connection.vendor} answers, and its tables are up to date.")


def dead_letters(*, inbox: int) -> Iterator[Finding]:
    """Count what waits for staff. `inbox`: letters that are not in the database yet."""
    letters = DeadLetter.objects.open().order_by()[: COUNTED + 1].count()
    number = f"more than {COUNTED:,}" if letters > COUNTED else f"{letters:,}"
    if letters:
        yield warning(
            "dead letters",
            "open",
            f"{number} dead letters are open.",
            "Inspect, correct, retry or discard them in the admin, under dead letters.",
        )
    if inbox:
        yield warning(
            "dead letters",
            "inbox",
            f"{inbox:,} dead letters wait in Redis for the database.",
            "A worker moves them within seconds; if the number stays, its log says what the database refuses.",
        )
    if not letters and not inbox:
        yield ok("dead letters", "none", "No dead letter is open.")


def outbox(settings: Settings) -> Iterator[Finding]:
    """Look for rows that should have reached Redis."""
    rows = OutboxRow.objects.order_by()[: COUNTED + 1].count()
    if settings.outbox == "always":
        yield ok("outbox", "kept", f"{rows:,} jobs that have not ended have their row in the database.")
        return
    oldest = OutboxRow.objects.order_by("id").values_list("created_at", flat=True).first()
    age = timezone.now() - oldest if oldest else timedelta()
    if age < LATE:
        yield ok("outbox", "in-time", f"{rows:,} jobs wait in the database for Redis.")
        return
    text = f"{rows:,} jobs wait in the database for Redis, the oldest for {age.total_seconds() / 60:.0f} minutes."
    way_out = "Workers bring them to Redis every few seconds: see whether one runs and whether Redis answers."
    yield error("outbox", "late", text, way_out) if age >= STUCK else warning("outbox", "late", text, way_out)
