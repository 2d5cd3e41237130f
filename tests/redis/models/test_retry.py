"""How a dead letter is retried or discarded, once."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from redis import Redis

from emailqueue.errors import (
    NotDiscardable,
    NotRetryable,
)
from emailqueue.housekeeping.inbox import move_inbox
from emailqueue.jobs.functions import DELIVER
from emailqueue.models import DeadLetter, Status
from tests.support.deaths import DEATH, die, job_hash, jobs_in, letter_of, record

pytestmark = pytest.mark.postgresql


@pytest.mark.django_db(transaction=True)
def test_an_unedited_retry_is_the_same_job_again(valkey: Redis) -> None:
    letter = letter_of(valkey)

    job_id = letter.retry()

    fields = job_hash(valkey, job_id)
    assert jobs_in(valkey) == [job_id] == ["a" * 32]
    assert json.loads(fields["data"]) == [DELIVER, None, [], record()["arguments"]]
    assert json.loads(fields["plan"]) == {"attempts": 3, "backoff": record()["backoff"]}
    assert (fields["dead_letter"], fields["description"]) == (DEATH, "vote-confirmation")
    letter.refresh_from_db()
    assert (letter.status, letter.retried_job_id, letter.edits) == (Status.RETRYING, job_id, {})


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

    assert DeadLetter.objects.open().count() == 1


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
    assert DeadLetter.objects.open().count() == 0


@pytest.mark.django_db
def test_a_discard_without_a_reason_is_refused(valkey: Redis) -> None:
    letter = letter_of(valkey)

    with pytest.raises(NotDiscardable):
        letter.discard("  ")

    assert DeadLetter.objects.get().status == Status.OPEN
