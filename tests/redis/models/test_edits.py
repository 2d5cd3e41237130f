"""What may be edited before a retry, and how it is checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from emailqueue.email_types import EmailType, _registry, register
from emailqueue.errors import (
    InvalidAddress,
    InvalidContext,
    InvalidPriority,
    MissingContext,
    NotRetryable,
)
from emailqueue.models import DeadLetter, Reason, Status
from emailqueue.testing.mailserver import MailServer
from tests.conftest import Work
from tests.support.deaths import DEATH, VOTE, job_hash, jobs_in, letter_of, record

pytestmark = pytest.mark.postgresql


@pytest.mark.django_db(transaction=True)
def test_an_edited_retry_is_a_new_job_and_the_letter_keeps_both(valkey: Redis) -> None:
    letter = letter_of(valkey)

    job_id = letter.retry(to="grace@example.com", priority="high")

    fields = job_hash(valkey, job_id)
    _function, _instance, _positional, arguments = json.loads(fields["data"])
    assert jobs_in(valkey, "high") == [job_id] != ["a" * 32]
    assert arguments == {"email_type": "vote-confirmation", "to": "grace@example.com", "context": VOTE}
    assert json.loads(fields["plan"]) == {"attempts": 3, "backoff": record()["backoff"]}
    assert fields["dead_letter"] == DEATH
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
