"""How the recipients of a bulk call get their contexts."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import pytest

from emailqueue import EmailType
from emailqueue.email_types import MAX_RECIPIENTS
from emailqueue.errors import (
    InvalidAddress,
    InvalidContext,
    TooManyRecipients,
)
from events.emails import VOTE_CONFIRMATION
from tests.support.votes import ADA, VOTE


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
