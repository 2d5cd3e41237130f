"""How a call becomes a job, and which calls are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from emailqueue import Backoff, EmailType
from emailqueue.email_types import get_email_type
from emailqueue.errors import (
    EmailQueueError,
    InvalidAddress,
    InvalidAttempts,
    InvalidBackoff,
    InvalidContext,
    InvalidIdempotencyKey,
    InvalidLanguage,
    InvalidPriority,
    InvalidTime,
    MissingContext,
    UnknownEmailType,
)
from emailqueue.jobs.job import NewJob
from events.emails import VOTE_CONFIRMATION
from tests.support.votes import ADA, VOTE


def mail_job(email_type: Any, to: str, context: Any, **options: Any) -> NewJob:
    return get_email_type(email_type).job(to, context, **options)


def test_a_mail_becomes_a_job_of_its_types_priority() -> None:
    job = mail_job("vote-confirmation", ADA, {"model_name": "Ada", "model_id": 7})

    assert (job.queue, job.label, job.due, job.keyed) == ("normal", "vote-confirmation", "", False)
    assert (job.attempts, job.backoff) == (3, Backoff())
    assert job.function == "emailqueue.deliver"
    assert job.arguments == {
        "email_type": "vote-confirmation",
        "to": ADA,
        "context": {"model_name": "Ada", "model_id": 7, "profile_url": "https://front.example/models/7"},
    }


def test_a_call_overrides_what_type_and_settings_say() -> None:
    job = mail_job(VOTE_CONFIRMATION, ADA, VOTE, priority="low", attempts=5, backoff={"type": "fixed"}, delay=5)

    assert (job.queue, job.attempts, job.backoff, job.due) == ("low", 5, Backoff(type="fixed"), "+5.000000")


def test_attempts_and_backoff_come_from_the_settings_otherwise(queue_settings: Callable[..., None]) -> None:
    queue_settings(ATTEMPTS=7, BACKOFF={"delay": 1})

    job = mail_job("vote-confirmation", ADA, VOTE)

    assert (job.attempts, job.backoff) == (7, Backoff(delay=1))


def test_each_mail_has_an_id_of_its_own() -> None:
    ids = {mail_job("vote-confirmation", ADA, VOTE).id for _ in range(3)}

    assert len(ids) == 3


@pytest.mark.parametrize("key", ["vote-7", "é" * 500, "\ud800"])
def test_the_same_key_is_the_same_job(key: str) -> None:
    first = mail_job("vote-confirmation", ADA, VOTE, idempotency_key=key)
    second = mail_job("vote-confirmation", ADA, VOTE, idempotency_key=key)
    other = mail_job("vote-confirmation", ADA, VOTE, idempotency_key=f"{key[1:]}x")

    assert first.id == second.id != other.id
    assert first.keyed
    assert len(first.id) == 32


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"email_type": "vote"}, UnknownEmailType),
        ({"email_type": EmailType(name="vote", template="vote.html")}, UnknownEmailType),
        ({"email_type": None}, UnknownEmailType),
        ({"priority": 5}, InvalidPriority),
        ({"priority": "urgent"}, InvalidPriority),
        ({"attempts": 0}, InvalidAttempts),
        ({"attempts": 101}, InvalidAttempts),
        ({"attempts": True}, InvalidAttempts),
        ({"attempts": "3"}, InvalidAttempts),
        ({"backoff": "fixed"}, InvalidBackoff),
        ({"backoff": {"delay": -1}}, InvalidBackoff),
        ({"delay": -1}, InvalidTime),
        ({"at": datetime(2030, 1, 1)}, InvalidTime),  # noqa: DTZ001 - naive on purpose
        ({"idempotency_key": ""}, InvalidIdempotencyKey),
        ({"idempotency_key": "x" * 501}, InvalidIdempotencyKey),
        ({"idempotency_key": 7}, InvalidIdempotencyKey),
        ({"to": "ada"}, InvalidAddress),
        ({"context": {}}, MissingContext),
        ({"context": {**VOTE, "votes": 1}}, InvalidContext),
        ({"context": {**VOTE, "model_name": 5}}, InvalidContext),
        ({"context": {**VOTE, "model_name": "\0"}}, InvalidContext),
        ({"context": None}, InvalidContext),
    ],
)
def test_a_wrong_call_is_refused_with_its_error(options: dict[str, Any], error: type[EmailQueueError]) -> None:
    call: dict[str, Any] = {"email_type": "vote-confirmation", "to": ADA, "context": VOTE, **options}

    with pytest.raises(error) as refusal:
        mail_job(**call)

    assert isinstance(refusal.value, LookupError if error is UnknownEmailType else ValueError)


def test_options_are_checked_once_for_many_mails() -> None:
    options = VOTE_CONFIRMATION.options(idempotency_key="call")

    jobs = [options.job("vote-confirmation", ADA, VOTE, key=key) for key in ("a", "b", None)]

    assert [job.keyed for job in jobs] == [True, True, False]
    assert len({job.id for job in jobs}) == 3
    assert all(json.loads(job.fields()["data"])[3]["to"] == ADA for job in jobs)


@pytest.mark.parametrize(("language", "kept"), [("de", "de"), ("de-at", "de"), ("pt-br", "pt-br")])
def test_a_call_may_name_a_language_of_the_project(language: str, kept: str) -> None:
    job = mail_job("referral-join", "ada@example.com", {"user_name": "Ada"}, language=language)

    assert job.arguments["language"] == kept


@pytest.mark.parametrize("language", ["", "tlh", "x" * 600, 7, ["de"]])
def test_another_language_is_refused(language: object) -> None:
    with pytest.raises(InvalidLanguage, match="Use one of those in LANGUAGES"):
        mail_job("referral-join", "ada@example.com", {"user_name": "Ada"}, language=language)
