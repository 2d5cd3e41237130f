"""What the doctor says of the tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection as database
from django.utils import timezone
from redis import Redis

from emailqueue.models import DeadLetter, OutboxRow
from tests.support.doctor import found

pytestmark = [pytest.mark.usefixtures("only_built_in_types"), pytest.mark.postgresql]


@pytest.mark.django_db(transaction=True)
def test_open_dead_letters_are_a_warning(valkey: Redis) -> None:
    DeadLetter.objects.create(pk="a", label="offer", dead_lettered_at=timezone.now())
    valkey.hset("emailqueue:dead", "b", "{}")

    findings = found()["dead letters"]

    assert [finding["level"] for finding in findings] == ["warning", "warning"]
    assert [finding["text"].split()[0] for finding in findings] == ["1", "1"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("minutes", "outbox", "level"),
    [(0, "failover", "ok"), (3, "failover", "warning"), (30, "failover", "error"), (30, "always", "ok")],
)
def test_rows_that_stay_in_the_outbox_are_told(
    valkey: Redis, queue_settings: Callable[..., None], minutes: int, outbox: str, level: str
) -> None:
    queue_settings(OUTBOX=outbox)
    OutboxRow.objects.create(job_id="a", job={})
    OutboxRow.objects.update(created_at=timezone.now() - timedelta(minutes=minutes))

    assert [finding["level"] for finding in found()["outbox"]] == [level]


@pytest.mark.django_db(transaction=True)
def test_migrations_that_are_not_applied_are_an_error(valkey: Redis) -> None:
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'emailqueue' AND name = '0001_initial'")
    try:
        findings = found()["database"]
    finally:
        with database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES ('emailqueue', '0001_initial', %s)",
                [timezone.now()],
            )

    assert findings[0]["level"] == "error"
    assert "emailqueue.0001_initial" in findings[0]["text"]
