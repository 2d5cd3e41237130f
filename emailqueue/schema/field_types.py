"""The types that hold no others: what their values are, and how JSON carries them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit
from uuid import UUID

from emailqueue.errors import InvalidAddress
from emailqueue.schema.address import valid_address


class Mismatch(ValueError):
    """A value that does not fit. The message is the rest of a sentence that begins with the place of the value."""

    path: str = ""
    """Place in the context or payload, such as ".parts[1].price"."""

    def within(self, step: str) -> Mismatch:
        """Return this error as it looks from one level further out."""
        self.path = step + self.path
        return self


class UnsupportedType(TypeError):
    """A type that no field can have. The message is the rest of a sentence that begins with the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """One type of values. Annotated[str, FieldType(...)] makes one of your own."""

    must_be: str
    """What a value must be, for error messages: "an e-mail address"."""

    read: Callable[[Any], Any]
    """Return the value, from itself or from what JSON carries for it. Raises Mismatch for anything else."""

    carried_as: Sequence[type] = ()
    """Types that JSON carries instead; empty for values that JSON knows."""

    def takes(self, value: Any) -> bool:
        """Return whether the value fits."""
        try:
            self.read(value)
        except Mismatch:
            return False
        return True


def mismatch(value: Any, must_be: str) -> Mismatch:
    """Return the error of a value that must be something else."""
    return Mismatch(f"is {value!r:.200}. It must be {must_be}.")


def checked(must_be: str, fits: Callable[[Any], bool]) -> FieldType:
    """Return the type of the values that JSON knows and for which `fits` is true."""

    def read(value: Any) -> Any:
        if not fits(value):
            raise mismatch(value, must_be)
        return value

    return FieldType(must_be=must_be, read=read)


def as_json(value: Any) -> Any:
    """Return what JSON carries for a value that it does not know."""
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, date | time) else str(value)


def leaf(hint: Any) -> FieldType:
    """Return the type of an annotation that holds no other types. Raises UnsupportedType."""
    if hint in PLAIN:
        return PLAIN[hint]
    if hint in CODED:
        return _coded(hint, *CODED[hint])
    if get_origin(hint) is Literal:
        return _choice(get_args(hint), get_args(hint), "")
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice([member.value for member in hint], list(hint), f"{hint.__name__}, or its value ")
    raise UnsupportedType(
        f"is of the type {hint!r}, which JSON cannot carry. Use str, int, float, bool, date, datetime, time, Decimal, "
        "UUID, an Enum, Literal, Address, Link, or lists, mappings or dataclasses of them, or pass the value as text."
    )


def _coded(kind: type, must_be: str, parse: Callable[[str], Any]) -> FieldType:
    def read(value: Any) -> Any:
        try:
            # Written and read again, a value is checked like the text of one: for its time zone, for example.
            return parse(as_json(value) if isinstance(value, kind) else value)
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            raise mismatch(value, must_be) from None

    return FieldType(must_be=must_be, read=read, carried_as=(str,))


def _choice(values: Sequence[Any], meant: Sequence[Any], kind: str) -> FieldType:
    if any(type(value) not in (str, int, float, bool, NoneType) for value in values):
        raise UnsupportedType(f"has values JSON cannot carry: {list(values)!r}. Use text and numbers only.")
    # With a mark for bool, since True is 1 to Python.
    known = {(isinstance(key, bool), key): one for key, one in zip([*values, *meant], [*meant, *meant], strict=True)}
    must_be = kind + " or ".join(map(repr, values))

    def read(value: Any) -> Any:
        try:
            return known[isinstance(value, bool), value]
        except (KeyError, TypeError):
            raise mismatch(value, must_be) from None

    return FieldType(must_be=must_be, read=read, carried_as=[type(value) for value in values] if kind else ())


def _of(*kinds: type) -> Callable[[Any], bool]:
    # bool is an int to Python, but "True copies" is never meant.
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool)


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError(text)
    return moment


def _finite(text: Any) -> Decimal:
    number = Decimal(text)
    if not isinstance(text, str) or not number.is_finite():
        raise ValueError(text)
    return number


def _is_address(value: Any) -> bool:
    try:
        return bool(valid_address(value))
    except InvalidAddress:
        return False


def _is_link(value: Any) -> bool:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not any(map(str.isspace, value))


PLAIN: dict[Any, FieldType] = {
    str: checked("text", _of(str)),
    int: checked("a whole number", _of(int)),
    float: checked("a number", _of(int, float)),
    bool: checked("True or False", lambda value: isinstance(value, bool)),
    NoneType: checked("None", lambda value: value is None),
}
"""Types that JSON knows."""

CODED: dict[Any, tuple[str, Callable[[str], Any]]] = {
    date: ("a date such as 2031-05-04", date.fromisoformat),
    datetime: ("a datetime with a time zone, such as 2031-05-04T12:00:00+00:00", _aware),
    time: ("a time such as 12:30", time.fromisoformat),
    Decimal: ("a decimal number such as Decimal('9.90'), or its text", _finite),
    UUID: ("a UUID", UUID),
}
"""Types that JSON carries as text: what a value must be, and what reads the text."""

Address = Annotated[str, checked("an e-mail address", _is_address)]
"""Type of a field that holds one plain e-mail address."""

Link = Annotated[str, checked("an http(s) address", _is_link)]
"""Type of a field that becomes a link: an absolute http or https address."""
