"""Which fields a dataclass or mapping has, and the types that hold others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from itertools import repeat
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from emailqueue.schema.field_types import PLAIN, FieldType, Mismatch, UnsupportedType, as_json, leaf, mismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The fields of a context, of a payload, or of an object in one of them."""

    types: Mapping[str, FieldType]
    needed: Sequence[str]
    defaults: Mapping[str, Callable[[], Any]]
    """What makes the value of an optional field that is absent; fields that default to None have none."""

    def unknown(self, given: Mapping[str, Any]) -> list[str]:
        """Return the names in `given` that are no fields."""
        return [name for name in given if name not in self.types]

    def missing(self, given: Mapping[str, Any]) -> list[str]:
        """Return the needed fields that `given` lacks."""
        return [name for name in self.needed if name not in given]

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return `given` with defaults for what is absent, and without None where that means absent."""
        kept = {name: value for name, value in given.items() if value is not None or name in self.defaults}
        return kept | {name: make() for name, make in self.defaults.items() if name not in kept}

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the fields, and what is no field as it is. Raises Mismatch."""
        return {
            name: _part(self.types[name], value, ".{}", name) if name in self.types else value
            for name, value in given.items()
        }

    def set_in(self, value: Any) -> dict[str, Any]:
        """Return the fields of an object, without those that are as they would be if they were left out."""
        optional = {name: self.defaults.get(name, NoneType)() for name in self.types if name not in self.needed}
        return {name: part for name, part in fields_of(value).items() if name in self.needed or part != optional[name]}


def is_object(value: Any) -> bool:
    """Return whether `value` is an object of a dataclass."""
    return is_dataclass(value) and not isinstance(value, type)


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass's object."""
    return {entry.name: getattr(value, entry.name) for entry in fields(value)}


class Compiler:
    """
    Makes field types of annotations.

    A lenient one takes objects that lack fields or have further ones: those of a job that was queued before their
    dataclass changed.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._known: dict[type, Fields] = {}

    def fields_of_class(self, described: type) -> Fields:
        """
        Return the fields of a dataclass; those with a default, or that may be None, are optional.

        Raises TypeError for a class that is no dataclass, and for a field of a type that JSON cannot carry.
        """
        if described in self._known:  # an object that holds objects of its own class
            return self._known[described]
        if not is_dataclass(described):
            raise TypeError(f"{described!r} is no dataclass. Decorate it with @dataclass(frozen=True).")
        types: dict[str, FieldType] = {}
        needed: list[str] = []
        defaults: dict[str, Callable[[], Any]] = {}
        self._known[described] = Fields(types=types, needed=needed, defaults=defaults)
        hints = get_type_hints(described, include_extras=True)
        for entry in fields(described):
            types[entry.name] = self._field(entry.name, hints[entry.name], owner=described.__name__)
            if make := _default(entry):
                defaults[entry.name] = make
            elif entry.default is MISSING and NoneType not in get_args(hints[entry.name]):
                needed.append(entry.name)
        return self._known[described]

    def fields_named(self, needed: Mapping[str, Any], optional: Mapping[str, Any], *, owner: str) -> Fields:
        """Return the fields of mappings of names to types, where a tuple is a choice of types. Raises TypeError."""
        hints = {**needed, **optional}
        types = {name: self._field(name, hint, owner=owner) for name, hint in hints.items()}
        return Fields(types=types, needed=list(needed), defaults={})

    def field_type(self, hint: Any) -> FieldType:
        """Return the type that an annotation stands for. Raises UnsupportedType."""
        origin, parts = get_origin(hint) or hint, get_args(hint)
        if origin is Annotated:
            own = [part for part in parts if isinstance(part, FieldType)]
            return own[0] if own else self.field_type(parts[0])
        if origin in (Union, UnionType):
            return _union([self.field_type(part) for part in parts])
        if origin in (list, tuple, Sequence, dict, Mapping):
            return self._container(origin, parts or (Any, ...))
        if isinstance(origin, type) and is_dataclass(origin):
            return self._object(origin)
        return ANYTHING if origin in (Any, object) else leaf(hint)

    def _container(self, origin: Any, parts: Sequence[Any]) -> FieldType:
        within = [self.field_type(part) for part in parts if part is not Ellipsis]
        if origin in (dict, Mapping):
            if parts[0] not in (str, Any):
                raise UnsupportedType(f"is a mapping of {parts[0]!r}. The keys of a mapping must be str, as in JSON.")
            return _mapping(within[-1])
        if origin is tuple and len(within) == len(parts):
            return _list(within, must_be=f"a list of {len(within)}", size=len(within))
        return _list(repeat(within[0]), must_be=f"a list, each item {within[0].must_be}")

    def _field(self, name: str, hint: Any, *, owner: str) -> FieldType:
        try:
            return self.field_type(Union[hint] if isinstance(hint, tuple) else hint)  # noqa: UP007 - made of a tuple
        except UnsupportedType as error:
            raise TypeError(f"The field {name!r} of {owner} {error}") from None

    def _object(self, described: type) -> FieldType:
        compiled = self.fields_of_class(described)
        must_be = f"an object of {described.__name__} or a mapping of its fields"

        def read(value: Any) -> Any:
            given = fields_of(value) if isinstance(value, described) else value
            if not isinstance(given, Mapping):
                raise mismatch(value, must_be)
            return compiled.read(given if self._lenient else whole(given))

        def whole(given: Mapping[str, Any]) -> Mapping[str, Any]:
            filled = compiled.filled(given)
            for verb, names in (("takes no", compiled.unknown(given)), ("lacks", compiled.missing(filled))):
                if names:
                    raise Mismatch(f"{verb} {', '.join(map(repr, names))}. It must be {must_be}.")
            return filled

        return FieldType(must_be=must_be, read=read)


def _default(entry: Field[Any]) -> Callable[[], Any] | None:
    if entry.default_factory is not MISSING:
        return entry.default_factory
    return None if entry.default is MISSING or entry.default is None else lambda: entry.default


def _part(kind: FieldType, value: Any, step: str, name: object) -> Any:
    try:
        return kind.read(value)
    except Mismatch as error:
        raise error.within(step.format(name)) from None


def _list(items: Iterable[FieldType], *, must_be: str, size: int | None = None) -> FieldType:
    def read(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or size not in (None, len(value)):
            raise mismatch(value, must_be)
        return [_part(item, part, "[{}]", index) for index, (part, item) in enumerate(zip(value, items, strict=False))]

    return FieldType(must_be=must_be, read=read)


def _mapping(item: FieldType) -> FieldType:
    must_be = f"a mapping of text to {item.must_be}"

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise mismatch(value, must_be)
        return {key: _part(item, part, "[{!r}]", key) for key, part in value.items()}

    return FieldType(must_be=must_be, read=read)


def _union(options: Sequence[FieldType]) -> FieldType:
    must_be = " or ".join(option.must_be for option in options)
    plain = {kind for kind, option in PLAIN.items() if option in options}
    carried = {kind for option in options for kind in option.carried_as}
    if plain & carried or (carried and ANYTHING in options):
        raise UnsupportedType(f"is {must_be}, which JSON carries alike. Use one of these types.")

    others = [option for option in options if option != PLAIN[NoneType]]

    def read(value: Any) -> Any:
        if value is None and len(others) < len(options):
            return None
        deeper, fitting = None, []
        for option in others:
            try:
                fitting.append(option.read(value))
            except Mismatch as error:
                deeper = error if error.path else deeper
        if not fitting:
            raise deeper or mismatch(value, must_be)
        # What writes it exactly so has written it: 20310504 may be a number or, to Python, a date.
        return next((one for one in fitting if value in (one, as_json(one))), fitting[0])

    return FieldType(must_be=must_be, read=read)


def _anything(value: Any) -> Any:
    """Return a value of no declared type with the objects in it as mappings. Raises Mismatch."""
    if is_object(value):
        value = fields_of(value)
    if isinstance(value, Mapping):
        return {key: _anything(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_anything(part) for part in value]
    if not isinstance(value, str | int | float | NoneType):
        raise Mismatch(f"holds {value!r:.200}, which JSON cannot carry.")
    return value


ANYTHING = FieldType(must_be="anything", read=_anything)
