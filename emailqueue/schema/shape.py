"""Which fields a context has, and how their values become JSON and come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Protocol, TypeAlias, Union, get_args, get_origin, get_type_hints

from emailqueue.schema.kinds import PLAIN, Kind, Misfit, Unsupported, fields_of, leaf, wrong


class DataclassInstance(Protocol):
    """Any object whose class is a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Context: TypeAlias = Mapping[str, Any] | DataclassInstance
Kinds = type | tuple[type, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The fields of a context or of an object in one, with the kind of each."""

    needed: Mapping[str, Kind]
    optional: Mapping[str, Kind]
    defaults: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """What makes the value of an optional field that is absent; those that default to None have none."""

    def unknown(self, given: Mapping[str, Any]) -> list[str]:
        """Return the fields of `given` that are none of these."""
        return [key for key in given if key not in self.needed and key not in self.optional]

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return `given` with defaults for what is absent, and without None where that means absent."""
        kept = {key: value for key, value in given.items() if value is not None or key in self.defaults}
        return kept | {key: make() for key, make in self.defaults.items() if key not in kept}

    def missing(self, given: Mapping[str, Any]) -> list[str]:
        """Return the needed fields that `given` lacks."""
        return [key for key in self.needed if key not in given]

    def encode(self, given: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """Return known fields as JSON carries them. Raises Misfit."""
        return {key: self._kind(key).encode(value, f"{where}{key}") for key, value in given.items()}

    def decode(self, carried: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """Return fields as a template is to see them; those that are unknown as they are. Raises Misfit."""
        return {key: self._decoded(key, value, where) for key, value in carried.items()}

    def said(self, value: Any) -> dict[str, Any]:
        """Return the fields of an object, without those that are as they would be if they were left out."""
        return {key: part for key, part in fields_of(value).items() if key in self.needed or part != self._default(key)}

    def _default(self, key: str) -> Any:
        return self.defaults[key]() if key in self.defaults else None

    def _decoded(self, key: str, value: Any, where: str) -> Any:
        if value is None or (key not in self.needed and key not in self.optional):
            return value
        decode = self._kind(key).decode
        return decode(value, f"{where}{key}") if decode else value

    def _kind(self, key: str) -> Kind:
        return self.needed.get(key) or self.optional[key]


@cache
def shape_of(described: type) -> Shape:
    """
    Return the fields of a dataclass; those with a default, or that may be None, are optional.

    Raises TypeError for a class that is none, and for a field of a type that JSON cannot carry, also within another.
    """
    return _shape_of(described, {})


@cache
def kind_of(kinds: Kinds) -> Kind:
    """Return the kind of a field that is described by one type or several. Raises TypeError."""
    return _either([_kind(kind, {}) for kind in kinds]) if isinstance(kinds, tuple) else _kind(kinds, {})


def _shape_of(described: type, known: dict[type, Shape]) -> Shape:
    if described in known:  # an object that holds objects of its own class
        return known[described]
    if not is_dataclass(described):
        raise TypeError(f"The context {described!r} is no dataclass. Decorate it with @dataclass(frozen=True).")
    needed: dict[str, Kind] = {}
    optional: dict[str, Kind] = {}
    defaults: dict[str, Callable[[], Any]] = {}
    known[described] = Shape(needed=needed, optional=optional, defaults=defaults)
    hints = get_type_hints(described)
    for entry in fields(described):
        try:
            kind = _kind(hints[entry.name], known)
        except Unsupported as error:
            raise TypeError(f"The field {entry.name!r} of {described.__name__} {error}") from None
        make = _default(entry)
        place = optional if make or NoneType in get_args(hints[entry.name]) else needed
        place[entry.name] = kind
        if make and entry.default is not None:
            defaults[entry.name] = make
    return known[described]


def _default(entry: Field[Any]) -> Callable[[], Any] | None:
    if entry.default_factory is not MISSING:
        return entry.default_factory
    return None if entry.default is MISSING else lambda: entry.default


def _kind(hint: Any, known: dict[type, Shape]) -> Kind:
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, UnionType):
        return _either([_kind(part, known) for part in parts])
    if origin is tuple and parts and parts[-1] is not Ellipsis:
        return _row([_kind(part, known) for part in parts])
    if origin in (list, tuple, Sequence):
        return _list(_kind(parts[0] if parts else Any, known))
    if origin in (dict, Mapping):
        if parts and parts[0] not in (str, Any):
            raise Unsupported(f"is of the type {hint!r}. The keys of a mapping must be str: JSON has no others.")
        return _mapping(_kind(parts[1], known) if parts else None)
    if isinstance(origin, type) and is_dataclass(origin):
        return _nested(origin, _shape_of(origin, known))
    return leaf(hint)


def _either(kinds: Sequence[Kind]) -> Kind:
    _refuse_doubtful(kinds)
    others = [kind for kind in kinds if kind.words != PLAIN[NoneType]]
    with_none = len(others) < len(kinds)

    def encode(value: Any, where: str) -> Any:
        return None if value is None and with_none else _best(others, value, where)[1]

    def decode(value: Any, where: str) -> Any:
        if value is None and with_none:
            return None
        kind, encoded = _best(others, value, where)
        return kind.decode(encoded, where) if kind.decode else value

    words = " or ".join(kind.words for kind in others)
    return Kind(words=words, encode=encode, decode=decode if any(kind.decode for kind in kinds) else None)


def _best(kinds: Sequence[Kind], value: Any, where: str) -> tuple[Kind, Any]:
    """Return the kind that fits a value, and what JSON carries. Raises Misfit."""
    if len(kinds) == 1:
        return kinds[0], kinds[0].encode(value, where)
    fitting, deeper = [], None
    for kind in kinds:
        try:
            fitting.append((kind, kind.encode(value, where)))
        except Misfit as error:
            deeper = error if error.where != where else deeper
    if not fitting:
        raise deeper or wrong(value, where, " or ".join(kind.words for kind in kinds))
    # The one that writes it exactly so has written it: 20310504 may be a number or, to Python, a date.
    return next((pair for pair in fitting if pair[1] == value), fitting[0])


def _refuse_doubtful(kinds: Sequence[Kind]) -> None:
    """Raise Unsupported where nobody could tell from the JSON which of the types a value had."""
    plain = {kind.words for kind in kinds}
    for kind in kinds:
        if any(PLAIN.get(carried) in plain for carried in (*kind.json, *([object] if kind.json else []))):
            raise Unsupported(
                f"is {' or '.join(each.words for each in kinds)}, which JSON carries alike. Use one of these types."
            )


def _list(item: Kind) -> Kind:
    def each(one: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        def all_of(value: Any, where: str) -> Any:
            if not isinstance(value, list | tuple):
                raise wrong(value, where, "a list")
            return [one(part, f"{where}[{index}]") for index, part in enumerate(value)]

        return all_of

    return Kind(words="a list", encode=each(item.encode), decode=each(item.decode) if item.decode else None)


def _row(items: Sequence[Kind]) -> Kind:
    words = f"a list of {len(items)}"

    def encode(value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(items):
            raise wrong(value, where, words)
        return [
            kind.encode(part, f"{where}[{index}]") for index, (kind, part) in enumerate(zip(items, value, strict=True))
        ]

    def decode(value: Any, where: str) -> Any:
        encode(value, where)
        return [
            kind.decode(part, f"{where}[{index}]") if kind.decode else part
            for index, (kind, part) in enumerate(zip(items, value, strict=True))
        ]

    return Kind(words=words, encode=encode, decode=decode if any(kind.decode for kind in items) else None)


def _mapping(part: Kind | None) -> Kind:
    part = part or leaf(Any)

    def each(one: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        def all_of(value: Any, where: str) -> Any:
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                raise wrong(value, where, "a mapping of text to values")
            return {key: one(inner, f"{where}[{key!r}]") for key, inner in value.items()}

        return all_of

    return Kind(words="a mapping", encode=each(part.encode), decode=each(part.decode) if part.decode else None)


def _nested(described: type, shape: Shape) -> Kind:
    words = f"an object of {described.__name__} or a mapping of its fields"

    def encode(value: Any, where: str) -> Any:
        given = fields_of(value) if isinstance(value, described) else value
        if not isinstance(given, Mapping):
            raise wrong(value, where, words)
        if unknown := shape.unknown(given):
            raise Misfit(where, f"takes no {', '.join(map(repr, unknown))}. It must be {words}.")
        filled = shape.filled(given)
        if missing := shape.missing(filled):
            raise Misfit(where, f"lacks {', '.join(map(repr, missing))}. It must be {words}.")
        return shape.encode(filled, f"{where}.")

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise wrong(value, where, words)
        return shape.decode(value, f"{where}.")

    return Kind(words=words, encode=encode, decode=decode)
