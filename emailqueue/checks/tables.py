"""Whether the database can take what it must: migrations, dead letters, the outbox."""

from collections.abc import Iterator
from datetime import timedelta

from django.core.checks import CheckMessage, Error, Info, Warning
from django.db import connections, router
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from emailqueue.conf import Settings
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.statistics.figures import COUNTED

LATE = timedelta(minutes=1)
"""Age from which on a row of the outbox should have reached Redis."""
STUCK = timedelta(minutes=10)


def migrations() -> Iterator[CheckMessage]:
    """Look for migrations of our apps that are not applied."""
    connection = connections[router.db_for_write(DeadLetter)]
    loader = MigrationLoader(connection)
    ours = sorted(node for node in loader.graph.nodes if node[0] in ("emailqueue", "events"))
    missing = [f"{app}.{name}" for app, name in ours if (app, name) not in loader.applied_migrations]
    if missing:
        text = f"These migrations are not applied: {', '.join(missing)}."
        yield Error(text, hint="Run: manage.py migrate", id="database.migrations")
    else:
        yield Info(f"{connection.vendor} answers, and its tables are up to date.", id="database.up-to-date")


def dead_letters(*, inbox: int) -> Iterator[CheckMessage]:
    """Count what waits for staff. `inbox`: dead letters that are not in the database yet."""
    count = DeadLetter.objects.open().order_by()[: COUNTED + 1].count()
    if count:
        number = f"more than {COUNTED:,}" if count > COUNTED else f"{count:,}"
        hint = "Inspect, correct, retry or discard them in the admin, under dead letters."
        yield Warning(f"{number} dead letters are open.", hint=hint, id="dead-letters.open")
    if inbox:
        hint = "A worker moves them within seconds; if the number stays, its log has the error of the database."
        yield Warning(f"{inbox:,} dead letters wait in Redis for the database.", hint=hint, id="dead-letters.inbox")
    if not count and not inbox:
        yield Info("No dead letter is open.", id="dead-letters.none")


def outbox(settings: Settings) -> Iterator[CheckMessage]:
    """Look for rows that should have reached Redis."""
    rows = OutboxRow.objects.order_by()[: COUNTED + 1].count()
    if settings.outbox == "always":
        yield Info(f"{rows:,} jobs that have not ended have their row in the database.", id="outbox.kept")
        return
    oldest = OutboxRow.objects.order_by("id").values_list("created_at", flat=True).first()
    age = timezone.now() - oldest if oldest else timedelta()
    text = f"{rows:,} jobs wait in the database for Redis"
    if age < LATE:
        yield Info(f"{text}.", id="outbox.in-time")
        return
    hint = "Workers bring them to Redis every few seconds: see whether one runs and whether Redis answers."
    late = Error if age >= STUCK else Warning
    yield late(f"{text}, the oldest for {age.total_seconds() / 60:.0f} minutes.", hint=hint, id="outbox.late")
