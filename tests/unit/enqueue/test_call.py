from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import repeat
from typing import Any

import pytest

from emailqueue import Backoff, EmailType
from emailqueue.email_types import MAX_RECIPIENTS, get_email_type
from emailqueue.enqueue.call import ascii_domain, due, valid_address
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
    TooManyRecipients,
    UnknownEmailType,
)
from emailqueue.jobs.job import NewJob
from events.emails import VOTE_CONFIRMATION

ADA = "ada@example.com"
VOTE = {"model_name": "Ada", "profile_url": "https://front.example/models/1"}
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def mail_job(email_type: Any, to: str, context: Any, **options: Any) -> NewJob:
    return get_email_type(email_type).job(to, context, **options)


def test_a_mail_becomes_a_job_of_its_types_priority() -> None:
    job = mail_job("vote-confirmation", ADA, {"model_name": "Ada", "model_id": 7})

    assert (job.queue, job.label, job.due, job.keyed) == ("normal", "vote-confirmation", "", False)
    assert (job.attempts, job.backoff) == (3, Backoff())
    assert job.function == "emailqueue.delivery.deliver.deliver"
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


@pytest.mark.parametrize("address", [ADA, "ada+tag@mail.example.com", "ada@exämple.com", "o'hara@example.com"])
def test_a_plain_address_is_taken_as_it_is(address: str) -> None:
    taken = valid_address(address)

    assert taken == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "Ada <ada@example.com>",
        "ada@example.com, bob@example.com",
        "ada@exa\0mple.com",
        "ada@\ud800.com",
        f"ada@{'ä' * 60}.com",
        f"{'a' * 400}@example.com",
        None,
        b"ada@example.com",
        ["ada@example.com"],
    ],
)
def test_what_is_no_plain_address_is_refused(address: Any) -> None:
    with pytest.raises(InvalidAddress, match="is not an e-mail address") as refusal:
        valid_address(address)

    assert repr(address) in str(refusal.value)


@pytest.mark.parametrize(
    "address", ["ada@example.com\n", "ada@example.com\r\nBcc: eve@example.com", "ada\r@example.com"]
)
def test_a_line_break_in_an_address_is_refused_as_a_forgery(address: str) -> None:
    with pytest.raises(InvalidAddress, match="line break"):
        valid_address(address)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, ""),
        ({"delay": 0}, ""),
        ({"delay": 1.5}, "+1.500000"),
        ({"delay": timedelta(minutes=1)}, "+60.000000"),
        ({"at": NOON}, "1893499200.000000"),
        ({"at": NOON.astimezone(timezone(timedelta(hours=5)))}, "1893499200.000000"),
        ({"at": datetime(1969, 12, 31, tzinfo=UTC)}, "-86400.000000"),
    ],
)
def test_a_due_time_is_written_for_redis(times: dict[str, Any], expected: str) -> None:
    written = due(**times)

    assert written == expected


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("hours", [-12, 12])
def test_the_ends_of_time_are_times(year: int, hours: int) -> None:
    last_in_utc = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 12, tzinfo=UTC)

    written = due(at=last_in_utc.replace(tzinfo=timezone(timedelta(hours=hours))))

    assert math.isfinite(float(written))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"at": datetime(2030, 1, 1)}, "make_aware"),  # noqa: DTZ001 - naive on purpose
        ({"at": "2030-01-01"}, "aware datetime"),
        ({"at": NOON.date()}, "aware datetime"),
        ({"delay": -0.1}, "0 or more"),
        ({"delay": timedelta(seconds=-1)}, "0 or more"),
        ({"delay": math.nan}, "0 or more"),
        ({"delay": math.inf}, "0 or more"),
        ({"delay": True}, "0 or more"),
        ({"delay": "5"}, "0 or more"),
        ({"delay": 5, "at": NOON}, "one of them"),
    ],
)
def test_what_is_no_time_is_refused(times: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTime, match=words):
        due(**times)


def test_a_recipients_own_context_overlays_the_common_one() -> None:
    pairs = VOTE_CONFIRMATION.recipients([ADA, ("bob@example.com", {"model_name": "Bob"})], VOTE)

    assert pairs == [(ADA, VOTE), ("bob@example.com", {**VOTE, "model_name": "Bob"})]
    assert VOTE["model_name"] == "Ada"


@dataclass(frozen=True)
class Joined:
    user_name: str
    referrer_name: str | None = None
    greeting: str = "Hello"
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stranger:
    user_name: str


JOINED = EmailType(name="joined", template="joined.html", context=Joined)


@pytest.mark.parametrize(
    ("own", "context"),
    [
        (Joined("Mary"), {"user_name": "Mary", "referrer_name": "Grace", "greeting": "Hi", "tags": ["a"]}),
        (
            Joined("Mary", referrer_name="Ada", greeting="Dear", tags=["b"]),
            {"user_name": "Mary", "referrer_name": "Ada", "greeting": "Dear", "tags": ["b"]},
        ),
        (
            {"user_name": "Mary", "referrer_name": None, "greeting": "Hello", "tags": []},
            {"user_name": "Mary", "greeting": "Hello", "tags": []},
        ),
    ],
)
def test_what_an_own_object_leaves_out_is_the_common_contexts(own: Any, context: dict[str, Any]) -> None:
    common = {"referrer_name": "Grace", "greeting": "Hi", "tags": ["a"]}

    pairs = JOINED.recipients([(ADA, own)], common)

    assert JOINED.complete(pairs[0][1], frontend_url="https://front.example") == context


def test_a_common_object_has_its_fields_overlaid() -> None:
    common = Joined("all", referrer_name="Grace")

    pairs = JOINED.recipients([ADA, (ADA, {"user_name": "Mary"})], common)

    assert [(context["user_name"], context["referrer_name"]) for _to, context in pairs] == [
        ("all", "Grace"),
        ("Mary", "Grace"),
    ]


@pytest.mark.parametrize(
    ("recipients", "common"), [([ADA], Stranger("Eve")), ([(ADA, Stranger("Eve"))], {"greeting": "Hi"})]
)
def test_an_object_of_another_class_is_refused_as_in_a_single_call(recipients: Any, common: Any) -> None:
    with pytest.raises(InvalidContext, match="Use an object of Joined or a mapping"):
        JOINED.recipients(recipients, common)


@pytest.mark.parametrize("recipients", [ADA, b"ada@example.com", [7], [(ADA,)], [(ADA, "x")], [[ADA, {}]], [None]])
def test_what_is_no_recipient_is_refused(recipients: Any) -> None:
    with pytest.raises(InvalidAddress, match=r"list of addresses|tuple \(address, own context\)"):
        VOTE_CONFIRMATION.recipients(recipients, VOTE)


def test_a_common_context_is_a_mapping() -> None:
    with pytest.raises(InvalidContext, match="mapping"):
        VOTE_CONFIRMATION.recipients([ADA], None)


def test_a_call_takes_a_hundred_thousand_recipients_and_not_one_more() -> None:
    most = VOTE_CONFIRMATION.recipients(repeat(ADA, MAX_RECIPIENTS), VOTE)

    assert len(most) == 100_000
    with pytest.raises(TooManyRecipients, match="at most 100,000 recipients"):
        VOTE_CONFIRMATION.recipients(repeat(ADA), VOTE)


def test_options_are_checked_once_for_many_mails() -> None:
    options = VOTE_CONFIRMATION.options(idempotency_key="call")

    jobs = [options.job("vote-confirmation", ADA, VOTE, key=key) for key in ("a", "b", None)]

    assert [job.keyed for job in jobs] == [True, True, False]
    assert len({job.id for job in jobs}) == 3
    assert all(json.loads(job.fields()["data"])[3]["to"] == ADA for job in jobs)


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("ada@Example.COM", "example.com"),
        ("ada@bücher.example", "xn--bcher-kva.example"),
        ("nobody", ""),
        ("", ""),
        ("ada@" + "ü" * 80 + ".example", ""),
    ],
)
def test_the_ascii_domain_an_address_is_told_as_mail_servers_know_it(address: str, domain: str) -> None:
    found = ascii_domain(address)

    assert found == domain


@pytest.mark.parametrize(("language", "kept"), [("de", "de"), ("de-at", "de"), ("pt-br", "pt-br")])
def test_a_call_may_name_a_language_of_the_project(language: str, kept: str) -> None:
    job = mail_job("referral-join", "ada@example.com", {"user_name": "Ada"}, language=language)

    assert job.arguments["language"] == kept


@pytest.mark.parametrize("language", ["", "tlh", "x" * 600, 7, ["de"]])
def test_another_language_is_refused(language: object) -> None:
    with pytest.raises(InvalidLanguage, match="Use one of those in LANGUAGES"):
        mail_job("referral-join", "ada@example.com", {"user_name": "Ada"}, language=language)
