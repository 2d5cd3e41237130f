"""How a dataclass describes the context of an e-mail type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional
from uuid import uuid4

import pytest

from emailqueue import EmailType
from emailqueue.email_types import email_types
from emailqueue.errors import InvalidContext, MissingContext
from emailqueue.schema import Link

FRONT = "https://front.example"


@dataclass(frozen=True)
class Part:
    name: str
    price: float = 1.5


@dataclass(frozen=True)
class Order:
    number: int
    track_url: Link
    code: int | str
    parts: list[Part]
    weight: float = 2.0
    tags: Sequence[str] = field(default_factory=lambda: ["new"])
    extra: Any = None
    note: Optional[str] = None  # noqa: UP045  both ways of writing it


@dataclass(frozen=True)
class Letter:
    user_name: str | None = "dear customer"
    sign_off: str = "Yours"
    token: str = field(default_factory=lambda: uuid4().hex)
    tags: list[str] = field(default_factory=list)
    note: str | None = None


@dataclass(frozen=True)
class WithBytes:
    at: bytes


LETTER = EmailType(name="letter", template="letter.html", context=Letter)
ORDER = EmailType(name="order", template="order.html", context=Order)
WHOLE = Order(number=7, track_url="https://x.example/7", code="A", parts=[Part("Lamp")])


def test_fields_without_a_default_are_needed() -> None:
    fields = ORDER.schema.fields

    assert list(fields.needed) == ["number", "track_url", "code", "parts"]
    assert [name for name in fields.types if name not in fields.needed] == ["weight", "tags", "extra", "note"]
    assert {name: make() for name, make in fields.defaults.items()} == {"weight": 2.0, "tags": ["new"]}


def test_an_object_of_the_dataclass_is_a_context() -> None:
    context = ORDER.complete(WHOLE, frontend_url=FRONT)

    assert context == {
        "number": 7,
        "track_url": "https://x.example/7",
        "code": "A",
        "parts": [{"name": "Lamp", "price": 1.5}],
        "weight": 2.0,
        "tags": ["new"],
    }


def test_a_type_checker_refuses_an_object_of_another_class() -> None:
    with pytest.raises(InvalidContext, match="Use an object of Order or a mapping"):
        ORDER.complete(Part("Lamp"), frontend_url=FRONT)  # type: ignore[arg-type]  # that is the test


def test_a_mapping_of_its_fields_is_one_too() -> None:
    context = ORDER.complete(
        {"number": 7, "track_url": "https://x.example/7", "code": 1, "parts": [], "extra": True}, frontend_url=FRONT
    )

    assert (context["weight"], context["extra"]) == (2.0, True)


@pytest.mark.parametrize(
    ("context", "error", "told"),
    [
        ({"number": 7}, MissingContext, "needs 'track_url', 'code', 'parts'"),
        (Order(number=7, track_url="ftp://x", code=1, parts=[]), InvalidContext, "an http"),
        (Part("Lamp"), InvalidContext, "Use an object of Order or a mapping"),
        (Order, InvalidContext, "Use an object of Order or a mapping"),
        ({"numbr": 7}, InvalidContext, "takes no 'numbr'"),
    ],
)
def test_what_does_not_fit_is_told(context: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        ORDER.complete(context, frontend_url=FRONT)


@pytest.mark.parametrize("given", [Letter(user_name=None), {"user_name": None}])
def test_none_stays_where_the_default_is_something_else(given: Any) -> None:
    context = LETTER.complete(given, frontend_url=FRONT)

    assert context["user_name"] is None
    assert "note" not in context


def test_a_default_stands_for_what_is_absent_and_not_for_none() -> None:
    context = LETTER.complete({}, frontend_url=FRONT)

    assert (context["user_name"], context["sign_off"]) == ("dear customer", "Yours")
    with pytest.raises(InvalidContext, match=r"'sign_off' of 'letter' is None\. It must be text\."):
        LETTER.complete({"sign_off": None}, frontend_url=FRONT)


def test_each_mail_has_a_default_of_its_own() -> None:
    first, second = (LETTER.complete({}, frontend_url=FRONT) for _ in range(2))
    first["tags"].append("mine")

    assert first["token"] != second["token"]
    assert second["tags"] == []


def test_an_object_is_no_context_of_a_type_without_a_dataclass() -> None:
    kind = EmailType(name="part", template="part.html", needed={"name": str}, optional={"price": float})

    with pytest.raises(InvalidContext, match="Use a mapping"):
        kind.complete(Part("Lamp"), frontend_url=FRONT)


@pytest.mark.parametrize(("described", "told"), [(WithBytes, "The field 'at' of WithBytes"), (dict, "is no dataclass")])
def test_a_type_that_can_never_be_queued_is_refused_where_it_is_made(described: type, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        EmailType(name="wrong", template="wrong.html", context=described)


def test_fields_are_said_in_one_way_only() -> None:
    with pytest.raises(TypeError, match="both context and needed"):
        EmailType(name="both", template="both.html", context=Order, needed={"number": int})


@pytest.mark.parametrize("kind", [kind for kind in email_types().values() if kind.sample], ids=lambda kind: kind.name)
def test_samples_of_the_six_types_fit(kind: EmailType) -> None:
    assert kind.complete(kind.sample or {}, frontend_url=FRONT)
