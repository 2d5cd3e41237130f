"""What becomes of a mail that a worker of RQ itself took."""

from __future__ import annotations

from typing import Any

import django_rq
import pytest
from redis import Redis
from rq import SimpleWorker
from rq.serializers import DefaultSerializer, JSONSerializer

from emailqueue.dead_letters.summary import headline, summary
from emailqueue.housekeeping.inbox import move_inbox
from emailqueue.housekeeping.stock_workers import import_stock_worker_failures
from emailqueue.jobs.ends import End
from emailqueue.models import DeadLetter, Reason
from emailqueue.store import INBOX
from events.emails import queue_vote_confirmation
from tests.support.deaths import VOTE

pytestmark = pytest.mark.postgresql


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("serializer", [DefaultSerializer, JSONSerializer])
def test_the_letter_of_a_mail_that_a_stock_worker_failed_says_so(valkey: Redis, serializer: Any) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    queue = django_rq.get_queue("normal", connection=valkey)
    SimpleWorker([queue], connection=valkey, serializer=serializer).work(burst=True, logging_level="CRITICAL")
    import_stock_worker_failures(valkey)

    move_inbox(valkey)

    letter = DeadLetter.objects.get()
    assert headline(letter) == "A worker of RQ's own class took this job, which it cannot run"
    assert "--worker-class" in summary(letter)
    assert letter.verdict == End.PERMANENT
    assert letter.attempts.get().rule == "stock-worker"


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_a_stock_worker_failed_is_a_dead_letter_and_gone_from_rq(valkey: Redis) -> None:
    job_id = queue_vote_confirmation("ada@example.com", VOTE)
    queue = django_rq.get_queue("normal", connection=valkey)
    SimpleWorker([queue], connection=valkey, serializer=JSONSerializer).work(burst=True, logging_level="CRITICAL")

    counts = [import_stock_worker_failures(valkey), import_stock_worker_failures(valkey)]

    move_inbox(valkey)
    letter = DeadLetter.objects.get()
    assert counts == [1, 0]
    assert (letter.job_id, letter.reason, letter.recipient) == (job_id, "exhausted", "ada@example.com")
    assert (letter.attempts_allowed, letter.error_class) == (3, "ValueError")
    assert "Traceback" in letter.attempts.get().traceback
    assert valkey.keys(f"rq:*{job_id}*") == []
    assert valkey.zcard("rq:failed:normal") == 0
    assert valkey.hget("emailqueue:counters", "normal:failed") == b"1"


@pytest.mark.django_db
def test_a_foreign_failure_that_cannot_be_read_is_kept_raw(valkey: Redis) -> None:
    valkey.zadd("rq:failed:low", {"strange": 4_000_000_000, "gone": 4_000_000_000})
    valkey.hset("rq:job:strange", mapping={"data": "\x80pickle", "history": "?", "exc_info": "?"})

    imported = import_stock_worker_failures(valkey)

    move_inbox(valkey)
    letters = {letter.job_id: letter for letter in DeadLetter.objects.all()}
    assert imported == 2
    assert {letter.reason for letter in letters.values()} == {Reason.MALFORMED}
    assert "pickle" in letters["strange"].raw
    assert letters["gone"].arguments is None


def test_a_job_that_our_worker_holds_is_only_taken_off_the_registry(valkey: Redis) -> None:
    valkey.zadd("rq:failed:low", {"held": 4_000_000_000})
    valkey.hset("rq:job:held", mapping={"place": "lease", "data": "[]"})

    imported = import_stock_worker_failures(valkey)

    assert imported == 0
    assert valkey.exists("rq:job:held") == 1
    assert valkey.zcard("rq:failed:low") == 0
    assert valkey.hlen(INBOX) == 0
