"""Which fields a context has, and which values fit them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Protocol, TypeAlias, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit


class Url(str):
    """Type of a context field that becomes a link: an absolute http or https address."""


class DataclassInstance(Protocol):
    """Any object whose class is a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Context: TypeAlias = Mapping[str, Any] | DataclassInstance
Kinds = type | tuple[type, ...]

type_names = {str: "text", int: "a whole number", float: "a number", Url: "an http(s) address"}
JSON_TYPES = (str, int, float, bool, Url, list, dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The fields of a context, with the type or types of each."""

    needed: Mapping[str, Kinds]
    optional: Mapping[str, Kinds]
    values: Mapping[str, Any] = field(default_factory=dict)
    """What optional fields hold that are left out."""


@cache
def shape_of(described: type) -> Shape:
    """
    Return the fields of a dataclass; those with a default, or that may be None, are optional.

    Raises TypeError for a class that is none, and for a field of a type that JSON cannot carry.
    """
    if not is_dataclass(described):
        raise TypeError(f"The context {described!r} is no dataclass. Decorate it with @dataclass(frozen=True).")
    hints = get_type_hints(described)
    needed: dict[str, Kinds] = {}
    optional: dict[str, Kinds] = {}
    values = {}
    for entry in fields(described):
        kinds = _kinds(hints[entry.name], entry.name, described)
        if NoneType not in kinds and not _has_default(entry):
            needed[entry.name] = kinds
            continue
        optional[entry.name] = tuple(kind for kind in kinds if kind is not NoneType)
        if (value := _default(entry)) is not None:
            values[entry.name] = value
    return Shape(needed=needed, optional=optional, values=values)


def plain(context: Any) -> Any:
    """Return a dataclass's object as a dict of its fields, and anything else as it is."""
    return asdict(context) if is_dataclass(context) and not isinstance(context, type) else context


def misfit(value: Any, kinds: Kinds) -> str:
    """Return what a value must be that is something else; empty when it fits."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if any(_fits(value, kind) for kind in kinds):
        return ""
    return " or ".join(type_names.get(kind, kind.__name__) for kind in kinds)


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


def _kinds(hint: Any, name: str, described: type) -> tuple[type, ...]:
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return tuple(kind for part in get_args(hint) for kind in _kinds(part, name, described))
    if origin is Any or origin is object:
        return (object,)
    if origin in (tuple, Sequence):
        return (list, tuple)
    if origin is Mapping or is_dataclass(origin):  # that of an object within, as asdict() gives it
        return (dict,)
    if origin is NoneType or origin in JSON_TYPES:
        return (list, tuple) if origin is list else (origin,)
    raise TypeError(
        f"The field {name!r} of {described.__name__} is of the type {hint!r}, which JSON cannot carry. Use str, int, "
        "float, bool, Url, list or dict, and turn the value into one of them where the mail is queued."
    )


def _has_default(entry: Field[Any]) -> bool:
    return entry.default is not MISSING or entry.default_factory is not MISSING


def _default(entry: Field[Any]) -> Any:
    if entry.default_factory is not MISSING:
        return plain(entry.default_factory())
    return None if entry.default is MISSING else plain(entry.default)


def _fits(value: Any, kind: type) -> bool:
    if kind is Url:
        return isinstance(value, str) and _is_link(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, bool):  # bool is an int to Python, but "True votes" is never meant
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
