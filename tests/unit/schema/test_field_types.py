"""Values of a context that JSON does not know: how they are carried, come back, and are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from django.db.models import TextChoices

from emailqueue import EmailType
from emailqueue.errors import InvalidContext
from emailqueue.schema import Address

FRONT = "https://front.example"
NOON = datetime(2031, 5, 4, 12, tzinfo=timezone(timedelta(hours=2)))
ID = UUID("12345678-1234-5678-1234-567812345678")


class Status(TextChoices):
    PAID = "paid", "Paid"
    OPEN = "open", "Open"


class Level(IntEnum):
    LOW = 1


class Size(Enum):
    HALF = 0.5


class Odd(Enum):
    PAIR = (1, 2)


@dataclass(frozen=True)
class Customer:
    name: str
    born: date | None = None
    friends: list[Customer] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    at: datetime
    customer: Customer
    day: date | None = None
    opens: time | None = None
    total: Decimal = Decimal("9.90")
    id: UUID | None = None
    status: Status = Status.OPEN
    level: Level | None = None
    size: Size | None = None
    way: Literal["post", 1] = "post"
    either: date | Decimal | None = None
    parts: list[Customer | None] = field(default_factory=list)
    by_name: Mapping[str, Customer] = field(default_factory=dict)
    place: tuple[Decimal, str] | None = None
    extra: Any = None


@dataclass(frozen=True)
class WithBytes:
    parts: dict[str, list[bytes]]


@dataclass(frozen=True)
class HoldsBytes:
    inner: list[WithBytes]


@dataclass(frozen=True)
class NumberKeys:
    names: dict[int, str]


@dataclass(frozen=True)
class Doubtful:
    at: date | str


@dataclass(frozen=True)
class OddEnum:
    odd: Odd


ORDER = EmailType(name="order", template="order.html", context=Order)
ADA = Customer("Ada", born=date(1815, 12, 10))
NEEDED = {"at": NOON, "customer": ADA}


def carried(**fields: Any) -> dict[str, Any]:
    return ORDER.complete({**NEEDED, **fields}, frontend_url=FRONT)


@pytest.mark.parametrize(
    ("name", "value", "in_json"),
    [
        ("at", NOON, "2031-05-04T12:00:00+02:00"),
        ("day", date(2031, 5, 4), "2031-05-04"),
        ("opens", time(12, 30), "12:30:00"),
        ("total", Decimal("19.90"), "19.90"),
        ("id", ID, str(ID)),
        ("status", Status.PAID, "paid"),
        ("level", Level.LOW, 1),
        ("size", Size.HALF, 0.5),
        ("way", "post", "post"),
        ("way", 1, 1),
        ("either", date(2031, 5, 4), "2031-05-04"),
        ("either", Decimal(20310504), "20310504"),
        ("place", (Decimal("1.5"), "x"), ["1.5", "x"]),
    ],
)
def test_a_value_comes_back_as_what_it_was(name: str, value: Any, in_json: Any) -> None:
    context = carried(**{name: value})
    back = ORDER.schema.decode(json.loads(json.dumps(context)))[name]

    assert (context[name], type(context[name])) == (in_json, type(in_json))
    assert list(back) == list(value) if name == "place" else (back, type(back)) == (value, type(value))
    assert carried(**context)[name] == in_json  # a letter that is edited


def test_what_an_object_holds_comes_back_too() -> None:
    grace = Customer("Grace", friends=[ADA])
    context = carried(
        customer=grace, parts=[ADA, None, {"name": "Bob"}], by_name={"a": ADA}, extra=[ADA.name, {"x": 1}]
    )

    back = ORDER.schema.decode(json.loads(json.dumps(context)))

    ada = {"name": "Ada", "born": date(1815, 12, 10), "friends": []}
    assert context["customer"]["friends"][0]["born"] == "1815-12-10"
    assert back["customer"] == {"name": "Grace", "friends": [ada]}
    assert back["parts"] == [ada, None, {"name": "Bob", "friends": []}]
    assert back["by_name"] == {"a": ada}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"at": datetime(2031, 5, 4, 12)}, r"'at' of 'order' is datetime.* It must be a datetime with a time zone"),  # noqa: DTZ001
        ({"at": "2031-05-04T12:00:00"}, "'at' of 'order' is '2031-05-04T12:00:00'"),
        ({"at": "tomorrow"}, "'at' of 'order' is 'tomorrow'"),
        ({"at": 5}, "'at' of 'order' is 5"),
        ({"day": NOON}, "'day' of 'order' .* It must be a date"),
        ({"opens": "25:00"}, "'opens' of 'order' is '25:00'"),
        ({"total": 9.9}, r"'total' of 'order' is 9\.9"),
        ({"total": "NaN"}, "'total'"),
        ({"total": Decimal("Infinity")}, "'total'"),
        ({"total": "much"}, "'total'"),
        ({"id": 7}, "'id' of 'order' is 7. It must be a UUID"),
        ({"status": "lost"}, "'status' of 'order' is 'lost'. It must be Status, or its value 'paid' or 'open'"),
        ({"level": True}, "'level' of 'order' is True"),
        ({"way": True}, "'way' of 'order' is True. It must be 'post' or 1"),
        ({"either": "x"}, "'either' of 'order' is 'x'. It must be a date .* or a decimal"),
        ({"customer": {}}, "'customer' of 'order' lacks 'name'"),
        ({"customer": {"name": "Ada", "age": 5}}, "'customer' of 'order' takes no 'age'"),
        ({"customer": Customer(5)}, r"'customer\.name' of 'order' is 5\. It must be text"),  # type: ignore[arg-type]
        ({"customer": WithBytes({})}, "It must be an object of Customer or a mapping"),
        ({"parts": [ADA, 1]}, r"'parts\[1\]' of 'order' is 1"),
        ({"parts": [{"name": "Ada", "born": "x"}]}, r"'parts\[0\]\.born' of 'order' is 'x'"),
        ({"parts": "Ada"}, "'parts' of 'order' is 'Ada'. It must be a list"),
        ({"by_name": {"a": {"name": None}}}, r"by_name.* of .order. lacks .name."),
        ({"by_name": {1: ADA}}, "'by_name' of 'order' .* mapping of text"),
        ({"place": ["1.5"]}, "'place' of 'order' .* a list of 2"),
        ({"extra": [NOON]}, "'extra' of 'order' .* JSON cannot carry"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidContext, match=told):
        carried(**fields)


def test_what_holds_itself_is_refused() -> None:
    friends: list[Any] = []
    friends.append(Customer("Ada", friends=friends))

    with pytest.raises(InvalidContext, match="holds itself"):
        carried(customer={"name": "Bob", "friends": friends})


@pytest.mark.parametrize(
    ("described", "told"),
    [
        (HoldsBytes, "The field 'parts' of WithBytes is of the type <class 'bytes'>"),
        (NumberKeys, "The field 'names' of NumberKeys .* keys of a mapping must be str"),
        (Doubtful, "The field 'at' of Doubtful is a date .* which JSON carries alike"),
        (OddEnum, "The field 'odd' of OddEnum .* values JSON cannot carry"),
    ],
)
def test_a_type_that_cannot_come_back_is_refused_where_it_is_made(described: type, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        EmailType(name="wrong", template="wrong.html", context=described)


def test_fields_without_a_dataclass_take_the_same_types() -> None:
    kind = EmailType(name="bare", template="bare.html", needed={"at": datetime}, optional={"total": (Decimal, int)})

    context = kind.complete({"at": NOON, "total": 5}, frontend_url=FRONT)

    assert (context["at"], kind.schema.decode(context)) == (NOON.isoformat(), {"at": NOON, "total": 5})
    with pytest.raises(TypeError, match="The field 'at' of 'bare' is of the type <class 'bytes'>"):
        EmailType(name="bare", template="bare.html", needed={"at": bytes})


def test_a_job_of_an_older_shape_is_refused_with_a_sentence() -> None:
    with pytest.raises(InvalidContext, match="'at' of 'order' is 'noon'"):
        ORDER.schema.decode({"at": "noon", "gone": 1})

    assert ORDER.schema.decode({"gone": 1, "at": datetime(2031, 5, 4, tzinfo=UTC).isoformat()})["gone"] == 1


@dataclass(frozen=True)
class Company:
    name: str
    register: int


@dataclass(frozen=True)
class Invoice:
    to: Customer | Company
    copies: Annotated[list[Address], "any metadata"]


INVOICE = EmailType(name="invoice", template="invoice.html", context=Invoice)


def test_a_choice_of_dataclasses_takes_the_one_that_fits() -> None:
    people = [ADA, Company("Engines", 7), {"name": "Grace"}]

    taken = [INVOICE.complete({"to": to, "copies": []}, frontend_url=FRONT)["to"] for to in people]

    assert taken == [
        {"name": "Ada", "born": "1815-12-10", "friends": []},
        {"name": "Engines", "register": 7},
        {"name": "Grace", "friends": []},
    ]


@pytest.mark.parametrize("copies", [["ada@example.com", "ada"], ["ada@example.com", None]])
def test_an_address_is_checked_within_a_context(copies: list[Any]) -> None:
    with pytest.raises(InvalidContext, match=r"'copies\[1\]' of 'invoice' is .*\. It must be an e-mail address\."):
        INVOICE.complete({"to": ADA, "copies": copies}, frontend_url=FRONT)


def test_an_object_of_an_older_dataclass_is_decoded_as_far_as_it_goes() -> None:
    stored = {"at": "2031-05-04T12:00:00+02:00", "customer": {"surname": "Lovelace", "born": "1815-12-10"}}

    assert ORDER.schema.decode(stored)["customer"] == {"surname": "Lovelace", "born": date(1815, 12, 10)}
    with pytest.raises(InvalidContext, match="'customer' of 'order' takes no 'surname'"):
        ORDER.complete(stored, frontend_url=FRONT)


def test_an_object_in_a_field_of_any_type_is_a_mapping() -> None:
    assert carried(extra=[Company("Engines", 7)])["extra"] == [{"name": "Engines", "register": 7}]
