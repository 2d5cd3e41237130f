from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import fakeredis
import pytest
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer

from emailqueue import Backoff
from emailqueue.jobs.functions import Run, job_function
from emailqueue.jobs.job import FIELDS, Job, MalformedJob, NewJob, new_id, timestamp
from emailqueue.jobs.outcome import SENT, Outcome


@job_function("tests.allowed")
def allowed(job: Job, run: Run) -> Outcome:
    return SENT


def new_job(**fields: Any) -> NewJob:
    values: dict[str, Any] = {
        "id": new_id(),
        "queue": "normal",
        "function": "tests.allowed",
        "arguments": {"to": "ada@example.com"},
        "attempts": 3,
        "backoff": Backoff(),
        "label": "vote-confirmation",
        **fields,
    }
    return NewJob(**values)


def claimed(fields: Mapping[str, str | bytes]) -> Job:
    """Return the job as a worker gets it that claims a hash with these fields."""

    def value(name: str) -> bytes | None:
        written = fields.get(name)
        return written.encode() if isinstance(written, str) else written

    return Job.read({name: value(name) for name in FIELDS}, id="ab12", queue="normal", token="7")


def calling(*call: Any) -> Job:
    return claimed({"data": json.dumps(call)})


def test_a_job_is_read_back_as_it_was_written() -> None:
    new = new_job(attempts=5, backoff=Backoff(delay=1), dead_letter="d1", cause="e1", ambiguous=True)

    job = claimed(new.fields())

    assert (job.id, job.queue, job.token) == ("ab12", "normal", "7")
    assert (job.label, job.dead_letter, job.created_at) == ("vote-confirmation", "d1", new.created_at)
    assert (job.cause, job.ambiguous) == ("e1", True)
    assert (job.attempts, job.backoff, job.charged()) == (5, Backoff(delay=1), 0)
    assert job.function() is allowed
    assert job.arguments() == {"to": "ada@example.com"}


@pytest.mark.parametrize(("due", "waits_since"), [("", 1000), ("+60", 1060), ("2000.5", 2000.5), ("500.0", 1000)])
def test_a_job_waits_since_it_was_due_and_not_before_it_was_made(due: str, waits_since: float) -> None:
    new = new_job(created_at="1970-01-01T00:16:40.000000Z", due=due)

    job = claimed(new.fields())

    assert job.due_at == waits_since


@pytest.mark.parametrize("written", ["", "soon"])
def test_a_strangers_time_is_none(written: str) -> None:
    job = claimed({"due_at": written})

    assert job.due_at == 0


def test_rq_reads_the_hash_for_its_dashboard() -> None:
    connection = fakeredis.FakeRedis()
    new = new_job()
    fields: Any = {**new.fields(), "origin": "normal"}  # as add.lua writes it
    connection.hset(f"rq:job:{new.id}", mapping=fields)

    job = RQJob.fetch(new.id, connection=connection, serializer=JSONSerializer)

    assert (job.func_name, job.kwargs) == ("tests.allowed", {"to": "ada@example.com"})
    assert (job.origin, job.description, job.timeout) == ("normal", "vote-confirmation", 180)
    assert job.created_at is not None
    assert job.retries_left is None


def test_a_compressed_call_is_read_too() -> None:
    data = zlib.compress(json.dumps(["tests.allowed", None, [], {"to": "ada"}]).encode())

    job = claimed({"data": data})

    assert job.arguments() == {"to": "ada"}


def test_only_a_registered_function_is_run() -> None:
    job = calling("tests.not_allowed", None, [], {})

    with pytest.raises(MalformedJob, match=r"not_allowed', which no app .* registered"):
        job.function()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04pickled",
        b"null",
        b"[1, 2]",
        b"\xff",
        b"[" * 100_000,
        zlib.compress(b"no"),
        b'{"a": 1, "b": 2, "c": 3, "d": 4}',
    ],
    ids=range(8),
)
def test_what_is_no_call_is_malformed(data: bytes) -> None:
    job = claimed({"data": data})

    with pytest.raises(MalformedJob):
        job.function()


@pytest.mark.parametrize("call", [(7, None, [], {}), ("f", None, ["positional"], {}), ("f", None, [], ["no mapping"])])
def test_a_call_has_keyword_arguments_only(call: tuple[Any, ...]) -> None:
    job = calling(*call)

    with pytest.raises(MalformedJob, match="keyword arguments"):
        job.arguments()


@pytest.mark.parametrize(
    "plan", ["", "no json", "[]", '{"attempts": "many", "backoff": {"delay": -1}}', '{"backoff": "soon"}', b"\xff"]
)
def test_a_strangers_plan_means_one_attempt(plan: str | bytes) -> None:
    job = claimed({"plan": plan})

    assert job.attempts == 1
    assert job.backoff == Backoff()


def test_only_charged_attempts_are_used_up() -> None:
    history = [{"charged": True}, {"charged": False, "times": 9}, {}]

    job = claimed({"history": json.dumps(history)})

    assert job.charged() == 2
    assert list(job.history) == history


@pytest.mark.parametrize("history", ["", "no json", '{"a": 1}', "[1, null]", b"\xff", "[" * 100_000], ids=range(6))
def test_a_strangers_history_is_none(history: str | bytes) -> None:
    job = claimed({"history": history})

    assert job.history == ()
    assert job.charged() == 0


def test_a_strangers_text_need_not_be_utf_8() -> None:
    job = claimed({"description": b"\xff", "dead_letter": b"\xff", "created_at": b"\xff"})

    assert (job.label, job.dead_letter, job.created_at) == ("�", "�", "�")


def test_a_hash_without_fields_is_a_job_that_can_be_settled() -> None:
    job = claimed({})

    assert (job.label, job.dead_letter, job.ambiguous, job.crashes) == ("", "", False, 0)


def test_an_id_is_new_unless_a_key_stands_for_it() -> None:
    ids = [new_id(), new_id(), new_id("vote-7"), new_id("vote-7"), new_id("vote-8")]

    assert len(set(ids)) == 4
    assert all(len(job_id) == 32 and int(job_id, 16) for job_id in ids)


def test_times_are_written_as_rq_writes_them() -> None:
    written = timestamp(datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC))

    assert written == "2030-01-02T03:04:05.000006Z"
    assert timestamp().endswith("Z")
