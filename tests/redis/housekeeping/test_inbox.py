"""How a death that Redis keeps becomes a row."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError
from django.db import connection as database
from redis import Redis

from emailqueue.email_types import _registry
from emailqueue.housekeeping.inbox import move_inbox
from emailqueue.jobs.ends import End
from emailqueue.models import DeadLetter, Reason, Status
from emailqueue.store import INBOX
from events.emails import VOTE_CONFIRMATION
from tests.support.deaths import DEATH, attempt, die, letter_of, record

pytestmark = pytest.mark.postgresql

# How SQLite skips a row, and how PostgreSQL refuses one.
UNWANTED = {
    "sqlite": (
        """CREATE TRIGGER unwanted BEFORE INSERT ON emailqueue_deadletter WHEN NEW.label = 'unwanted'
        BEGIN SELECT RAISE(IGNORE); END""",
        "DROP TRIGGER unwanted",
    ),
    "postgresql": (
        "ALTER TABLE emailqueue_deadletter ADD CONSTRAINT unwanted CHECK (label <> 'unwanted')",
        "ALTER TABLE emailqueue_deadletter DROP CONSTRAINT unwanted",
    ),
}


@pytest.mark.django_db
def test_a_death_becomes_a_letter_with_every_attempt(valkey: Redis) -> None:
    die(valkey)

    moved = move_inbox(valkey)

    letter = DeadLetter.objects.get()
    assert moved == 1
    assert (letter.pk, letter.job_id, letter.reason, letter.status) == (DEATH, "a" * 32, "exhausted", "open")
    assert (letter.email_type, letter.recipient, letter.priority) == ("vote-confirmation", "ada@example.com", 3)
    assert (letter.smtp_code, letter.smtp_reply, letter.attempts_charged) == (550, "no such mailbox", 2)
    assert letter.arguments == record()["arguments"]
    assert letter.backoff["delay"] == 0.5
    assert [entry.smtp_code for entry in letter.attempts.all()] == [450, 550]
    assert letter.attempts.all()[0].at.isoformat() == "2026-05-04T10:00:02.500000+00:00"
    assert valkey.hlen(INBOX) == 0


@pytest.mark.django_db
def test_a_letter_tells_whether_its_address_is_bad(valkey: Redis) -> None:
    busy = attempt(kind="retry", rule="later")
    gone = attempt(kind="bad address", smtp_code=550, rule="no-address")
    letter = letter_of(valkey, history=[attempt(), busy, gone])

    bad = DeadLetter.objects.filter(verdict=End.BAD_ADDRESS)

    assert list(bad) == [letter]
    assert (letter.verdict, letter.rule) == ("bad address", "no-address")
    assert [(entry.kind, entry.rule) for entry in letter.attempts.all()] == [
        ("retry", ""),  # that no rule has judged
        ("retry", "later"),
        ("bad address", "no-address"),
    ]


@pytest.mark.django_db
def test_a_letter_keeps_how_its_mail_read_if_that_may_become_untrue(
    valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(valkey, "a" * 32)
    move_inbox(valkey)
    monkeypatch.setitem(_registry, "vote-confirmation", replace(VOTE_CONFIRMATION, stale_after=60))
    die(valkey, "b" * 32)
    die(valkey, "c" * 32, arguments={"email_type": "vote-confirmation", "to": "ada@example.com", "context": {}})

    move_inbox(valkey)

    kept: dict[str, Any] = dict(DeadLetter.objects.values_list("pk", "rendered"))
    assert kept["a" * 32] is None
    assert kept["b" * 32]["subject"] == "Your vote for GPT is in"
    assert "https://front.example/models/7" in kept["b" * 32]["text"]
    assert DeadLetter.objects.count() == 3


@pytest.mark.django_db
def test_moving_the_same_death_twice_changes_nothing(valkey: Redis) -> None:
    letter_of(valkey).discard("the mailbox is gone")
    die(valkey)

    move_inbox(valkey)

    letter = DeadLetter.objects.get()
    assert letter.status == Status.DISCARDED
    assert letter.attempts.count() == 2
    assert valkey.hlen(INBOX) == 0


@pytest.mark.django_db
def test_more_deaths_than_one_transaction_takes_are_all_moved(valkey: Redis) -> None:
    for number in range(250):
        die(valkey, f"{number:032x}", job_id=f"{number:032x}")

    moved = move_inbox(valkey)

    assert moved == 250
    assert DeadLetter.objects.open().count() == 250
    assert valkey.hlen(INBOX) == 0


@pytest.mark.django_db
def test_an_entry_that_the_database_refuses_stays_while_the_others_move(
    valkey: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        die(valkey, f"{number:032x}")
    die(valkey, "b" * 32, history=[attempt(smtp_code=10**30)])

    counts = [move_inbox(valkey), move_inbox(valkey)]

    assert counts == [3, 0]
    assert DeadLetter.objects.count() == 3
    assert valkey.hkeys(INBOX) == [b"b" * 32]
    logged = [entry for entry in caplog.records if entry.name == "emailqueue.housekeeping.inbox"]
    assert [vars(entry)["dead_letter"] for entry in logged] == ["b" * 32]
    assert "ada@example.com" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_letter_that_the_database_drops_silently_stays_in_the_inbox(valkey: Redis) -> None:
    die(valkey)
    die(valkey, "e" * 32, label="unwanted")
    with database.cursor() as cursor:
        cursor.execute(UNWANTED[database.vendor][0])

    try:
        moved = move_inbox(valkey)
    finally:
        with database.cursor() as cursor:
            cursor.execute(UNWANTED[database.vendor][1])

    assert moved == 1
    assert DeadLetter.objects.get().label == "vote-confirmation"
    assert valkey.hkeys(INBOX) == [b"e" * 32]


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_all_stays_in_the_inbox(valkey: Redis) -> None:
    die(valkey)

    def away(*args: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with database.execute_wrapper(away), pytest.raises(OperationalError):
        move_inbox(valkey)
    waiting = valkey.hlen(INBOX)
    moved = move_inbox(valkey)

    assert (waiting, moved) == (1, 1)


@pytest.mark.django_db
def test_an_entry_that_is_no_record_becomes_a_letter_with_its_text(valkey: Redis) -> None:
    valkey.hset(INBOX, "1" * 32, "{broken \0 \ud83d".encode("utf-8", "surrogatepass"))
    valkey.hset(INBOX, "2" * 32, json.dumps({"job_id": "x"}))
    valkey.hset(INBOX, "3" * 32, json.dumps([1, 2]))
    valkey.hset(INBOX, "4" * 32, json.dumps(record(attempts=None)))

    moved = move_inbox(valkey)

    letters = DeadLetter.objects.order_by("pk")
    assert moved == 4
    assert {letter.reason for letter in letters} == {Reason.MALFORMED}
    assert letters[0].raw.startswith("{broken \N{SYMBOL FOR NULL}")
    assert letters[1].raw == '{"job_id": "x"}'
    assert "'arguments'" in letters[1].message


@pytest.mark.django_db
def test_what_databases_refuse_is_replaced_and_the_rest_kept(valkey: Redis) -> None:
    arguments = {"email_type": "custom", "to": "ada@example.com", "context": {"a\0b": "x\0y\ud800", "n": float("nan")}}
    die(valkey, arguments=arguments, label="l\0", history=[attempt(message="m\0", traceback="t\0")])

    move_inbox(valkey)

    letter = DeadLetter.objects.get()
    assert letter.arguments == {**arguments, "context": {"a␀b": "x␀y\\ud800", "n": "nan"}}
    assert (letter.label, letter.message) == ("l␀", "m␀")
    assert letter.attempts.get().traceback == "t␀"


@pytest.mark.django_db
def test_a_dead_event_job_is_a_letter_without_mail_fields(valkey: Redis) -> None:
    die(valkey, queue="events", label="vote.created", arguments={"payload": {"to": "no mail"}})

    move_inbox(valkey)

    letter = DeadLetter.objects.get()
    assert (letter.label, letter.email_type, letter.recipient, letter.priority) == ("vote.created", "", "", None)
