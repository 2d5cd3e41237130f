from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import django_rq
import pytest
from django.db import OperationalError, transaction
from django.db import connection as database
from redis import Redis
from rq import SimpleWorker
from rq.serializers import DefaultSerializer, JSONSerializer

from emailqueue.dead_letters.summary import plain_words, story
from emailqueue.email_types import EmailType, _registry, register
from emailqueue.enqueue.call import DELIVER
from emailqueue.errors import (
    InvalidAddress,
    InvalidContext,
    InvalidPriority,
    MissingContext,
    NotDiscardable,
    NotRetryable,
)
from emailqueue.housekeeping.inbox import close_redelivered, import_foreign_failures, move_inbox, open_letters
from emailqueue.models import DeadLetter, Reason, Status
from emailqueue.store import INBOX, REDELIVERED
from emailqueue.testing.mailserver import MailServer
from emailqueue.verdict.judge import Action
from events.emails import VOTE_CONFIRMATION, queue_vote_confirmation
from tests.conftest import Work

DEATH = "d" * 32
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
VOTE = {"model_name": "GPT", "profile_url": "https://front.example/models/7"}


def attempt(**changes: Any) -> dict[str, Any]:
    return {
        "at": "2026-05-04T10:00:02.500000Z",
        "kind": "transient",
        "charged": True,
        "times": 1,
        "worker": "worker-1",
        "error_class": "emailqueue.delivery.smtp.Refused",
        "message": "450 try later",
        "phase": "rcpt",
        "smtp_code": 450,
        "smtp_reply": "try later",
        "traceback": "Traceback (most recent call last): …",
        **changes,
    }


def record(**changes: Any) -> dict[str, Any]:
    return {
        "job_id": "a" * 32,
        "queue": "normal",
        "label": "vote-confirmation",
        "function": DELIVER,
        "arguments": {"email_type": "vote-confirmation", "to": "ada@example.com", "context": VOTE},
        "raw": "",
        "attempts": 3,
        "backoff": {"type": "fixed", "delay": 0.5, "jitter": 0.0, "max_delay": 60.0},
        "reason": "exhausted",
        "history": [attempt(), attempt(kind="permanent", smtp_code=550, smtp_reply="no such mailbox")],
        "created_at": "2026-05-04T10:00:00.000000Z",
        "died_at": "2026-05-04T10:00:05.000000Z",
        "letter": "",
        **changes,
    }


def die(valkey: Redis, death: str = DEATH, **changes: Any) -> None:
    valkey.hset(INBOX, death, json.dumps(record(**changes)))


def letter_of(valkey: Redis, **changes: Any) -> DeadLetter:
    die(valkey, **changes)
    move_inbox(valkey)
    return DeadLetter.objects.get(pk=DEATH)


def jobs_in(valkey: Redis, queue: str = "normal") -> list[str]:
    ids: Any = valkey.lrange(f"rq:queue:{queue}", 0, -1)
    return [job_id.decode() for job_id in ids]


def job_hash(valkey: Redis, job_id: str) -> dict[str, str]:
    fields: Any = valkey.hgetall(f"rq:job:{job_id}")
    return {name.decode(): value.decode() for name, value in fields.items()}


@pytest.mark.django_db
def test_a_death_becomes_a_letter_with_every_attempt(valkey: Redis) -> None:
    die(valkey)

    moved = move_inbox(valkey)

    letter = DeadLetter.objects.get()
    assert moved == 1
    assert (letter.pk, letter.job_id, letter.reason, letter.status) == (DEATH, "a" * 32, "exhausted", "open")
    assert (letter.email_type, letter.recipient, letter.priority) == ("vote-confirmation", "ada@example.com", 3)
    assert (letter.smtp_code, letter.smtp_reply, letter.tries) == (550, "no such mailbox", 2)
    assert letter.arguments == record()["arguments"]
    assert letter.backoff["delay"] == 0.5
    assert [entry.smtp_code for entry in letter.attempts.all()] == [450, 550]
    assert letter.attempts.all()[0].at.isoformat() == "2026-05-04T10:00:02.500000+00:00"
    assert valkey.hlen(INBOX) == 0


@pytest.mark.django_db
def test_a_letter_tells_whether_its_address_is_bad(valkey: Redis) -> None:
    busy = attempt(verdict="retry", rule="later")
    gone = attempt(kind="permanent", smtp_code=550, verdict="bad address", rule="no-address")
    letter = letter_of(valkey, history=[attempt(), busy, gone])

    bad = DeadLetter.objects.filter(verdict=Action.BAD_ADDRESS)

    assert list(bad) == [letter]
    assert (letter.verdict, letter.rule) == ("bad address", "no-address")
    assert [(entry.verdict, entry.rule) for entry in letter.attempts.all()] == [
        ("", ""),  # of a worker that knew no verdicts yet
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
    assert open_letters() == 250
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
    assert [vars(entry)["death"] for entry in logged] == ["b" * 32]
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


@pytest.mark.django_db(transaction=True)
def test_an_unedited_retry_is_the_same_job_again(valkey: Redis) -> None:
    letter = letter_of(valkey)

    job_id = letter.retry()

    fields = job_hash(valkey, job_id)
    assert jobs_in(valkey) == [job_id] == ["a" * 32]
    assert json.loads(fields["data"]) == [DELIVER, None, [], record()["arguments"]]
    assert json.loads(fields["plan"]) == {"attempts": 3, "backoff": record()["backoff"]}
    assert (fields["letter"], fields["description"]) == (DEATH, "vote-confirmation")
    letter.refresh_from_db()
    assert (letter.status, letter.retried_job_id, letter.edits) == (Status.RETRYING, job_id, {})


@pytest.mark.django_db(transaction=True)
def test_an_edited_retry_is_a_new_job_and_the_letter_keeps_both(valkey: Redis) -> None:
    letter = letter_of(valkey)

    job_id = letter.retry(to="grace@example.com", priority="high")

    fields = job_hash(valkey, job_id)
    _function, _instance, _positional, arguments = json.loads(fields["data"])
    assert jobs_in(valkey, "high") == [job_id] != ["a" * 32]
    assert arguments == {"email_type": "vote-confirmation", "to": "grace@example.com", "context": VOTE}
    assert json.loads(fields["plan"]) == {"attempts": 3, "backoff": record()["backoff"]}
    assert fields["letter"] == DEATH
    letter.refresh_from_db()
    assert letter.edits == {"to": "grace@example.com", "priority": 2}
    assert letter.recipient == "ada@example.com"


@pytest.mark.django_db(transaction=True)
def test_a_letter_can_be_edited_although_its_language_was_given_up(valkey: Redis) -> None:
    arguments = {**record()["arguments"], "language": "tlh"}
    letter = letter_of(valkey, arguments=arguments)

    job_id = letter.retry(to="grace@example.com")

    queued = json.loads(job_hash(valkey, job_id)["data"])[3]
    assert queued == {"email_type": "vote-confirmation", "to": "grace@example.com", "context": VOTE}
    assert letter.retried_job().arguments == queued


@dataclass(frozen=True)
class Meeting:
    at: datetime
    code: str = field(default_factory=lambda: uuid4().hex)


@pytest.fixture
def meeting() -> Iterator[EmailType]:
    """A type whose context holds a date, and a default that is another each time."""
    yield register(EmailType(name="meeting", template="meeting.html", context=Meeting))
    _registry.pop("meeting")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("at", ["2031-05-04T12:00Z", datetime(2031, 5, 4, 12, tzinfo=UTC)])
def test_an_edited_date_is_checked_and_kept_as_json(valkey: Redis, meeting: EmailType, at: Any) -> None:
    arguments = {"email_type": "meeting", "to": "ada@example.com", "context": {"at": "noon"}}
    letter = letter_of(valkey, arguments=arguments, label="meeting")

    with pytest.raises(InvalidContext, match=r"'at' of 'meeting' is 'soon'\. It must be a datetime"):
        letter.retry(context={"at": "soon"})
    job_id = letter.retry(context={"at": at})

    queued = json.loads(job_hash(valkey, job_id)["data"])[3]["context"]
    letter.refresh_from_db()
    assert queued["at"] == "2031-05-04T12:00:00+00:00"
    assert letter.edits == {"context": queued}
    assert letter.retried_job().arguments["context"] == queued


@pytest.mark.django_db(transaction=True)
def test_a_date_that_no_longer_parses_makes_a_dead_letter(
    valkey: Redis, mailbox: MailServer, work: Work, meeting: EmailType
) -> None:
    arguments = {"email_type": "meeting", "to": "ada@example.com", "context": {"at": "noon"}}
    letter = letter_of(valkey, arguments=arguments, label="meeting")
    letter.retry()

    work()

    (dead,) = DeadLetter.objects.exclude(pk=DEATH)
    assert (dead.reason, mailbox.messages) == (Reason.PERMANENT, [])
    assert "'at' of 'meeting' is 'noon'" in dead.message


@pytest.mark.django_db(transaction=True)
def test_an_edited_letter_keeps_its_language(valkey: Redis) -> None:
    arguments = {**record()["arguments"], "language": "de"}
    letter = letter_of(valkey, arguments=arguments)

    job_id = letter.retry(to="grace@example.com")

    assert json.loads(job_hash(valkey, job_id)["data"])[3]["language"] == "de"


@pytest.mark.django_db(transaction=True)
def test_edits_that_change_nothing_are_no_edits(valkey: Redis) -> None:
    letter = letter_of(valkey)

    job_id = letter.retry(to="ada@example.com", context=VOTE, priority=3)

    assert job_id == "a" * 32


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("edits", "error"),
    [
        ({"to": "no address"}, InvalidAddress),
        ({"context": {}}, MissingContext),
        ({"priority": 9}, InvalidPriority),
        ({"subject": "Hello"}, NotRetryable),
    ],
)
def test_wrong_edits_leave_the_letter_open(valkey: Redis, edits: dict[str, Any], error: type[Exception]) -> None:
    letter = letter_of(valkey)

    with pytest.raises(error):
        letter.retry(**edits)

    assert (letter.status, DeadLetter.objects.get().status) == (Status.OPEN, Status.OPEN)
    assert valkey.keys("rq:job:*") == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("changes", "edits", "sentence"),
    [
        ({"arguments": None, "reason": "malformed"}, {}, "cannot be read"),
        ({"function": "emailqueue.delivery.deliver.gone"}, {}, "no installed app offers"),
        ({"function": "emailqueue.gone.deliver"}, {}, "no installed app offers"),
        ({"arguments": {"event": 1}}, {"to": "ada@example.com"}, "is no e-mail"),
    ],
)
def test_a_retry_that_cannot_work_says_why(
    valkey: Redis, changes: dict[str, Any], edits: dict[str, Any], sentence: str
) -> None:
    letter = letter_of(valkey, **changes)

    with pytest.raises(NotRetryable, match=sentence):
        letter.retry(**edits)

    assert DeadLetter.objects.get().status == Status.OPEN
    assert valkey.keys("rq:job:*") == []


@pytest.mark.django_db(transaction=True)
def test_a_letter_makes_us_import_nothing_from_outside_the_installed_apps(valkey: Redis) -> None:
    letter = letter_of(valkey, function="antigravity.fly")

    with pytest.raises(NotRetryable, match="no installed app offers"):
        letter.retry()

    assert "antigravity" not in sys.modules


@pytest.mark.django_db(transaction=True)
def test_a_letter_that_is_not_open_is_neither_retried_nor_discarded(valkey: Redis) -> None:
    letter = letter_of(valkey)
    letter.retry()

    with pytest.raises(NotRetryable, match="is retrying"):
        letter.retry()
    with pytest.raises(NotDiscardable, match="is retrying"):
        letter.discard("too late")

    assert DeadLetter.objects.get().status == Status.RETRYING


@pytest.mark.django_db(transaction=True)
def test_of_two_letters_of_one_job_one_is_retried_at_a_time(valkey: Redis) -> None:
    letter_of(valkey).retry()
    die(valkey, "e" * 32)
    move_inbox(valkey)

    with pytest.raises(NotRetryable, match="for another dead letter"):
        DeadLetter.objects.get(pk="e" * 32).retry()

    assert open_letters() == 1


@pytest.mark.django_db(transaction=True)
def test_two_threads_retry_one_letter_and_one_job_is_queued(valkey: Redis) -> None:
    letter_of(valkey)
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def retry() -> None:
        letter = DeadLetter.objects.get()
        barrier.wait()
        try:
            outcomes.append(letter.retry(to="grace@example.com"))
        except NotRetryable:
            outcomes.append("refused")
        database.close()

    threads = [threading.Thread(target=retry) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(jobs_in(valkey)) == 1
    assert sorted(outcomes) == sorted(["refused", *jobs_in(valkey)])


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_the_letter_open_and_queues_nothing(valkey: Redis) -> None:
    letter = letter_of(valkey)

    with transaction.atomic():
        letter.retry()
        transaction.set_rollback(True)

    assert DeadLetter.objects.get().status == Status.OPEN
    assert valkey.keys("rq:job:*") == []


@pytest.mark.django_db
def test_a_discard_keeps_its_reason(valkey: Redis) -> None:
    letter = letter_of(valkey)

    letter.discard(" the mailbox is gone ")

    letter.refresh_from_db()
    assert (letter.status, letter.discard_reason) == (Status.DISCARDED, "the mailbox is gone")
    assert letter.closed_at is not None
    assert open_letters() == 0


@pytest.mark.django_db
def test_a_discard_without_a_reason_is_refused(valkey: Redis) -> None:
    letter = letter_of(valkey)

    with pytest.raises(NotDiscardable):
        letter.discard("  ")

    assert DeadLetter.objects.get().status == Status.OPEN


@pytest.mark.django_db(transaction=True)
def test_a_retry_that_dies_again_closes_the_older_letter(valkey: Redis) -> None:
    letter = letter_of(valkey)
    letter.retry()
    die(valkey, "e" * 32, letter=DEATH)

    move_inbox(valkey)

    letter.refresh_from_db()
    assert letter.status == Status.FAILED_AGAIN
    assert letter.closed_at is not None
    again = DeadLetter.objects.open().get()
    assert (again.pk, again.job_id, again.redrives) == ("e" * 32, "a" * 32, DEATH)


@pytest.mark.django_db(transaction=True)
def test_a_retry_that_was_sent_closes_the_letter_and_only_that(valkey: Redis) -> None:
    letter = letter_of(valkey)
    letter.retry()
    die(valkey, "e" * 32)
    move_inbox(valkey)
    valkey.rpush(REDELIVERED, DEATH, "e" * 32, "f" * 32)

    counts = [close_redelivered(valkey), close_redelivered(valkey)]

    letter.refresh_from_db()
    assert counts == [1, 0]
    assert letter.status == Status.SENT
    assert DeadLetter.objects.open().get().pk == "e" * 32
    assert valkey.llen(REDELIVERED) == 0


def test_a_retried_mail_that_arrives_closes_its_letter(valkey: Redis, mailbox: MailServer, work: Work) -> None:
    letter = letter_of(valkey)
    letter.retry()

    work()

    letter.refresh_from_db()
    assert letter.status == Status.SENT
    assert [(mail.recipient, mail.message_id) for mail in mailbox.messages] == [
        ("ada@example.com", f"<{'a' * 32}@sender.example>")
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("serializer", [DefaultSerializer, JSONSerializer])
def test_the_letter_of_a_mail_that_a_stock_worker_failed_says_so(valkey: Redis, serializer: Any) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    queue = django_rq.get_queue("normal", connection=valkey)
    SimpleWorker([queue], connection=valkey, serializer=serializer).work(burst=True, logging_level="CRITICAL")
    import_foreign_failures(valkey)

    move_inbox(valkey)

    letter = DeadLetter.objects.get()
    assert plain_words(letter) == "A worker of RQ's own class took this job, which it cannot run"
    assert "--worker-class" in story(letter)
    assert letter.verdict == Action.DEAD_LETTER
    assert letter.attempts.get().rule == "stock-worker"


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_a_stock_worker_failed_is_a_dead_letter_and_gone_from_rq(valkey: Redis) -> None:
    job_id = queue_vote_confirmation("ada@example.com", VOTE)
    queue = django_rq.get_queue("normal", connection=valkey)
    SimpleWorker([queue], connection=valkey, serializer=JSONSerializer).work(burst=True, logging_level="CRITICAL")

    counts = [import_foreign_failures(valkey), import_foreign_failures(valkey)]

    move_inbox(valkey)
    letter = DeadLetter.objects.get()
    assert counts == [1, 0]
    assert (letter.job_id, letter.reason, letter.recipient) == (job_id, "exhausted", "ada@example.com")
    assert (letter.attempts_allowed, letter.error_class) == (3, "TypeError")
    assert "Traceback" in letter.attempts.get().traceback
    assert valkey.keys(f"rq:*{job_id}*") == []
    assert valkey.zcard("rq:failed:normal") == 0
    assert valkey.hget("emailqueue:counters", "normal:failed") == b"1"


@pytest.mark.django_db
def test_a_foreign_failure_that_cannot_be_read_is_kept_raw(valkey: Redis) -> None:
    valkey.zadd("rq:failed:low", {"strange": 4_000_000_000, "gone": 4_000_000_000})
    valkey.hset("rq:job:strange", mapping={"data": "\x80pickle", "history": "?", "exc_info": "?"})

    imported = import_foreign_failures(valkey)

    move_inbox(valkey)
    letters = {letter.job_id: letter for letter in DeadLetter.objects.all()}
    assert imported == 2
    assert {letter.reason for letter in letters.values()} == {Reason.MALFORMED}
    assert "pickle" in letters["strange"].raw
    assert letters["gone"].arguments is None


def test_a_job_that_our_worker_holds_is_only_taken_off_the_registry(valkey: Redis) -> None:
    valkey.zadd("rq:failed:low", {"held": 4_000_000_000})
    valkey.hset("rq:job:held", mapping={"place": "lease", "data": "[]"})

    imported = import_foreign_failures(valkey)

    assert imported == 0
    assert valkey.exists("rq:job:held") == 1
    assert valkey.zcard("rq:failed:low") == 0
    assert valkey.hlen(INBOX) == 0
