"""Which types a value of a context can have, and how JSON carries each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit
from uuid import UUID


class Url(str):
    """Type of a context field that becomes a link: an absolute http or https address."""


class Misfit(ValueError):
    """A value that does not fit. The message is the rest of a sentence that begins with its place."""

    def __init__(self, where: str, told: str) -> None:
        super().__init__(told)
        self.where = where
        """Place in the context, such as "parts[1].price"."""


class Unsupported(TypeError):
    """A type that no value of a context can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One type of values. The functions take a value and its place in the context, and raise Misfit."""

    words: str
    """What a value must be."""

    encode: Callable[[Any, str], Any]
    """Return what JSON carries, of a value or of what JSON carries already."""

    decode: Callable[[Any, str], Any] | None = None
    """Return the value, of what JSON carries; None: it is the same."""

    json: tuple[type, ...] = ()
    """Types of what JSON carries for a value of another type."""


PLAIN: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Url: "an http(s) address",
    NoneType: "None",
    object: "a value",
}


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _finite(text: Any) -> Decimal:
    number = Decimal(text) if isinstance(text, str) else None
    if number is None or not number.is_finite():
        raise ValueError(f"{text!r} is no text of a finite number")
    return number


CODED: dict[type, tuple[str, Callable[[Any], str], Callable[[Any], Any]]] = {
    date: ("a date such as 2031-05-04", lambda value: str(value.isoformat()), date.fromisoformat),
    datetime: ("a datetime with a time zone, such as 2031-05-04T12:00:00+00:00", datetime.isoformat, _aware),
    time: ("a time such as 12:30", time.isoformat, time.fromisoformat),
    Decimal: ("a decimal number such as Decimal('9.90'), or its text", str, _finite),
    UUID: ("a UUID", str, UUID),
}
"""Types that JSON carries as text: what they are called, to JSON, from JSON."""


def leaf(hint: Any) -> Kind:
    """Return the kind of a type that holds no others. Raises Unsupported."""
    hint = object if hint is Any else hint
    if get_origin(hint) is Literal:
        return _literal(get_args(hint))
    if hint in PLAIN:
        return _plain(hint)
    if hint in CODED:
        words, write, read = CODED[hint]
        return _coded(hint, words, write, read, json=(str,))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    raise Unsupported(
        f"is of the type {hint!r}, which JSON cannot carry. Use str, int, float, bool, Url, date, datetime, time, "
        "Decimal, UUID, an Enum, Literal, lists, mappings or dataclasses of them, or turn the value into one of them "
        "where the mail is queued."
    )


def is_object(value: Any) -> bool:
    """Return whether `value` is an object of a dataclass."""
    return is_dataclass(value) and not isinstance(value, type)


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass's object."""
    return {entry.name: getattr(value, entry.name) for entry in fields(value)}


def obstacle(value: Any) -> str:
    """Return why Redis or a database could not keep a value; empty when they can."""
    try:
        # Encoded, since half a surrogate pair passes JSON's own escapes and fails in UTF-8 and PostgreSQL.
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return f"is {value!r}, which JSON cannot carry: {error}."
    if b"\\u0000" in text and _holds_nul(value):
        return f"holds a NUL character, which databases refuse: {value!r}."
    return ""


def wrong(value: Any, where: str, words: str) -> Misfit:
    """Return the error of a value that must be something else."""
    return Misfit(where, f"is {value!r}. It must be {words}.")


def _plain(kind: type) -> Kind:
    def encode(value: Any, where: str) -> Any:
        if not _fits(value, kind):
            raise wrong(value, where, PLAIN[kind])
        return _unwrapped(value) if kind is object else value

    return Kind(words=PLAIN[kind], encode=encode)


def _coded(
    kind: type, words: str, write: Callable[[Any], Any], read: Callable[[Any], Any], *, json: tuple[type, ...]
) -> Kind:
    def decode(value: Any, where: str) -> Any:
        try:
            # Written and read again, a value is checked like the text of one: for its time zone, for example.
            return read(write(value) if isinstance(value, kind) else value)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
            raise wrong(value, where, words) from None

    return Kind(words=words, encode=lambda value, where: write(decode(value, where)), decode=decode, json=json)


def _enum(kind: type[Enum]) -> Kind:
    values = [member.value for member in kind]
    if any(type(value) not in (str, int, float, bool) for value in values):
        raise Unsupported(
            f"is of the type {kind!r}, whose values JSON cannot carry. Use an Enum of text or numbers only."
        )

    def read(value: Any) -> Any:
        if isinstance(value, bool) and not any(value is known for known in values):  # True is 1 to Python
            raise ValueError(value)
        return kind(value)

    words = " or ".join(map(repr, values))
    types = tuple({type(value) for value in values})
    return _coded(kind, f"{kind.__name__}, or its value {words}", lambda member: member.value, read, json=types)


def _literal(values: tuple[Any, ...]) -> Kind:
    if any(type(value) not in (str, int, bool, NoneType) for value in values):
        raise Unsupported(f"is Literal{list(values)!r}, which JSON cannot carry. Use text and numbers only.")
    words = " or ".join(map(repr, values))

    def encode(value: Any, where: str) -> Any:
        for known in values:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return known
        raise wrong(value, where, words)

    return Kind(words=words, encode=encode)


def _unwrapped(value: Any) -> Any:
    """Return a value of no declared type with the objects in it as dicts."""
    if is_object(value):
        value = fields_of(value)
    if isinstance(value, Mapping):
        return {key: _unwrapped(part) for key, part in value.items()}
    return [_unwrapped(part) for part in value] if isinstance(value, list | tuple) else value


def _fits(value: Any, kind: type) -> bool:
    if kind is Url:
        return isinstance(value, str) and _is_link(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, bool):  # bool is an int to Python, but "True copies" is never meant
        return kind in (bool, object)
    return isinstance(value, kind)


def _is_link(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not any(map(str.isspace, value))


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))
