from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.utils.safestring import SafeString

from emailqueue import EmailType, Priority, register
from emailqueue.email_types import email_types, get_email_type
from emailqueue.errors import EmailQueueError, InvalidContext, MissingContext, UnknownEmailType
from events.emails import PROGRESS_UPDATE, REFERRAL_JOIN, REWARD_DELIVERY, VOTE_CONFIRMATION

FRONT = "https://front.example"
LINK = "https://front.example/models/7"
SHIPPED = EmailType(
    name="order-shipped",
    template="shop/order-shipped.html",
    needed={"number": (int, str), "weight": float, "parts": list},
    optional={"note": str, "gift": bool, "extra": dict, "when": object},
)


def complete(kind: EmailType, **context: Any) -> dict[str, Any]:
    return kind.complete(context, frontend_url=FRONT)


def shipped(**context: Any) -> dict[str, Any]:
    return complete(SHIPPED, **{"number": 1, "weight": 1.5, "parts": [], **context})


@pytest.fixture
def name() -> Iterator[str]:
    """A name that no type has, and has no more after the test."""
    name = f"type-{uuid4().hex}"
    yield name
    from emailqueue.email_types import _registry

    _registry.pop(name, None)


@pytest.mark.parametrize(
    ("name", "priority"),
    [
        ("vote-confirmation", Priority.NORMAL),
        ("progress-update", Priority.LOW),
        ("rank-update", Priority.CRITICAL),
        ("reward-delivery", Priority.HIGH),
        ("referral-join", Priority.LOW),
        ("referral-milestone", Priority.CRITICAL),
    ],
)
def test_six_types_come_with_the_package(name: str, priority: Priority) -> None:
    kind = get_email_type(name)

    assert (kind.name, kind.priority) == (name, priority)
    assert email_types()[name] is kind


def test_an_unknown_type_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(
        UnknownEmailType, match=r"'vote' is not .* Use one of vote-confirmation, .* register\(\)"
    ) as error:
        get_email_type("vote")

    assert isinstance(error.value, EmailQueueError)
    assert isinstance(error.value, LookupError)


def test_what_cannot_be_a_name_is_an_unknown_type_too() -> None:
    with pytest.raises(UnknownEmailType):
        get_email_type(["vote-confirmation"])  # type: ignore[arg-type]  # what a caller may do


def test_a_project_registers_types_of_its_own(name: str) -> None:
    own = register(EmailType(name=name, template="own.html"))

    again = register(EmailType(name=name, template="own.html"))

    assert get_email_type(name) is own
    assert again == own


def test_types_are_registered_before_the_apps_are_loaded() -> None:
    code = """
from emailqueue import EmailType, register
from emailqueue.schema import Link
print(register(EmailType(name="early", template="early.html", needed={"link": Link})).name)
"""

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (run.stdout, run.stderr) == ("early\n", "")


def test_a_name_stands_for_one_type(name: str) -> None:
    register(EmailType(name=name, template="own.html"))

    with pytest.raises(ValueError, match="registered already"):
        register(EmailType(name=name, template="other.html"))


def test_links_are_built_from_the_front_end_when_absent() -> None:
    vote = complete(VOTE_CONFIRMATION, model_name="Ada", model_id=7)
    reward = complete(REWARD_DELIVERY, reward_name="Badge", claim_url=None)

    assert vote["profile_url"] == LINK
    assert reward["claim_url"] == "https://front.example/rewards"


def test_a_given_link_is_kept() -> None:
    context = complete(VOTE_CONFIRMATION, model_name="Ada", profile_url="https://other.example/ada")

    assert context["profile_url"] == "https://other.example/ada"


def test_none_counts_as_absent() -> None:
    context = complete(REFERRAL_JOIN, user_name="Ada", referrer_name=None)

    assert context == {"user_name": "Ada"}


def test_the_callers_context_is_left_alone() -> None:
    given = {"model_name": "Ada", "model_id": 7}

    VOTE_CONFIRMATION.complete(given, frontend_url=FRONT)

    assert given == {"model_name": "Ada", "model_id": 7}


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({}, "needs 'model_name', 'profile_url' in its context"),
        ({"model_name": None, "profile_url": LINK}, "needs 'model_name' in its context"),
        ({"model_name": "Ada"}, "profile_url is built from {frontend_url}/models/{model_id}"),
    ],
)
def test_missing_context_is_named(context: dict[str, Any], words: str) -> None:
    with pytest.raises(MissingContext) as refusal:
        complete(VOTE_CONFIRMATION, **context)

    assert words in str(refusal.value)
    assert isinstance(refusal.value, InvalidContext)


def test_unknown_context_is_named_beside_what_the_type_takes() -> None:
    with pytest.raises(InvalidContext, match=r"takes no 'votes' in its context\. It takes model_name, vote_count"):
        complete(PROGRESS_UPDATE, model_name="Ada", vote_count=1, milestone=1, votes=1)


def test_a_context_is_a_mapping() -> None:
    with pytest.raises(InvalidContext, match="Use a mapping"):
        VOTE_CONFIRMATION.complete([("model_name", "Ada")], frontend_url=FRONT)


@pytest.mark.parametrize(
    ("context", "must_be"),
    [
        ({"model_name": 5}, "text"),
        ({"vote_count": "5"}, "a whole number"),
        ({"vote_count": True}, "a whole number"),
        ({"vote_count": 5.0}, "a whole number"),
        ({"milestone": 5.5}, "a whole number or text"),
        ({"profile_url": "/models/7"}, r"an http\(s\) address"),
        ({"profile_url": "javascript:alert(1)"}, r"an http\(s\) address"),
        ({"profile_url": "https://"}, r"an http\(s\) address"),
        ({"profile_url": "https://[half"}, r"an http\(s\) address"),
        ({"profile_url": "https://front.example/a b"}, r"an http\(s\) address"),
        ({"profile_url": 7}, r"an http\(s\) address"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(context: dict[str, Any], must_be: str) -> None:
    right = {"model_name": "Ada", "vote_count": 100, "milestone": 100}

    with pytest.raises(InvalidContext, match=rf"It must be {must_be}\.$") as refusal:
        complete(PROGRESS_UPDATE, **{**right, **context})

    assert all(repr(value) in str(refusal.value) for value in context.values())


@pytest.mark.parametrize(
    "context", [{"number": "A1"}, {"weight": 2}, {"gift": False}, {"extra": {"a": [1, None]}}, {"note": "Grüße 🎉"}]
)
def test_a_value_of_one_of_the_types_is_taken_as_it_is(context: dict[str, Any]) -> None:
    complete_context = shipped(**context)

    assert complete_context.items() >= context.items()


def test_a_subclass_of_text_is_text() -> None:
    context = shipped(note=SafeString(LINK))

    assert context["note"] == LINK


@pytest.mark.parametrize(
    "context", [{"weight": True}, {"when": object()}, {"when": b"now"}, {"extra": {"a": {1}}}, {"weight": float("nan")}]
)
def test_what_json_cannot_carry_is_refused(context: dict[str, Any]) -> None:
    with pytest.raises(InvalidContext):
        shipped(**context)


@pytest.mark.parametrize(
    "context",
    [{"note": "a\0b"}, {"parts": ["a", "\0"]}, {"extra": {"\0": 1}}, {"extra": {"a": {"b": ["\0"]}}}, {"number": "\0"}],
)
def test_nul_is_refused_wherever_it_hides(context: dict[str, Any]) -> None:
    with pytest.raises(InvalidContext, match="NUL"):
        shipped(**context)


def test_a_written_escape_is_not_nul() -> None:
    context = shipped(note="\\u0000")

    assert context["note"] == "\\u0000"


@pytest.mark.parametrize("context", [{"note": "\ud800"}, {"parts": ["\udfff"]}, {"extra": {"\ud800": 1}}])
def test_half_a_surrogate_pair_is_refused(context: dict[str, Any]) -> None:
    with pytest.raises(InvalidContext, match="surrogates"):
        shipped(**context)


@pytest.mark.parametrize("reply_to", ["help@example.com", b"help@example.com"])
def test_reply_addresses_are_a_list(reply_to: Any) -> None:
    with pytest.raises(TypeError, match=r"reply_to of 'order' is b?'help@example.com'\. Use a list"):
        EmailType(name="order", template="order.html", reply_to=reply_to)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "help",
        "Help <help>",
        "help@example.com, info@example.com",
        "The Shop, Inc <help@example.com>",
        "help@example.com\nBcc: eve@example.com",
        7,
        None,
    ],
)
def test_what_is_no_sender_is_refused_where_the_type_is_made(address: Any) -> None:
    with pytest.raises(ValueError, match="reply_to of 'order' holds"):
        EmailType(name="order", template="order.html", reply_to=["help@example.com", address])

    if address:
        with pytest.raises(ValueError, match="from_email of 'order' holds"):
            EmailType(name="order", template="order.html", from_email=address)


@pytest.mark.parametrize("address", ["help@example.com", "Bücher <help@example.com>", '"Shop, Inc" <a@localhost>'])
def test_a_sender_may_have_a_name(address: str) -> None:
    kind = EmailType(name="order", template="order.html", from_email=address, reply_to=(address,))

    assert (kind.from_email, kind.reply_to) == (address, (address,))
