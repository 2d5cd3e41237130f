"""What is said where `migrate` was forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError
from django.db import connection as database
from redis import Redis

from emailqueue.housekeeping.thread import Housekeeper
from emailqueue.models import DeadLetter
from emailqueue.models.database_report import explain
from emailqueue.store import INBOX
from tests.conftest import eventually

SENTENCE = r"^The tables of the queue are missing or old \(.*emailqueue_\w+.*\)\. Run: manage\.py migrate$"


@contextmanager
def without(table: str) -> Iterator[None]:
    with database.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    try:
        yield
    finally:
        with database.cursor() as cursor:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
@pytest.mark.parametrize("words", [["emailqueue", "purge"], ["events", "trace", "7" * 32]])
def test_a_command_says_that_tables_are_missing(words: list[str]) -> None:
    with without("emailqueue_deadletter"), pytest.raises(CommandError, match=SENTENCE):
        call_command(*words)


@pytest.mark.django_db(transaction=True)
def test_the_log_of_the_housekeeping_says_that_tables_are_missing(
    valkey: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    housekeeper = Housekeeper(valkey)
    with without("emailqueue_outboxrow"):
        housekeeper.start()
        eventually(lambda: "housekeeping waits" in caplog.messages)
    valkey.hset(INBOX, "d1", "no JSON")
    housekeeper.poke()
    eventually(lambda: DeadLetter.objects.filter(pk="d1").exists())
    housekeeper.stop()

    line = next(record for record in caplog.records if record.message == "housekeeping waits")
    assert "Run: manage.py migrate" in vars(line)["error"]
    assert not line.exc_info


@pytest.mark.django_db
def test_a_missing_column_is_an_old_table() -> None:
    with pytest.raises(DatabaseError) as refusal, database.cursor() as cursor:
        cursor.execute("SELECT emailqueue_colour FROM emailqueue_deadletter")

    words = explain(refusal.value)

    assert words.startswith("The tables of the queue are missing or old (")
    assert words.endswith("). Run: manage.py migrate")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("database is locked"), "The database did not do what was asked: database is locked."),
        (OperationalError(), "The database did not do what was asked: OperationalError."),
    ],
)
def test_another_error_is_passed_on(error: DatabaseError, words: str) -> None:
    assert explain(error) == words
