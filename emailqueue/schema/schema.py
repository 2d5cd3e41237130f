"""How a context or payload is checked, carried by JSON, and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from emailqueue.errors import EmailQueueError
from emailqueue.schema.field_types import Mismatch, as_json
from emailqueue.schema.fields import Compiler, Fields, fields_of


class DataclassInstance(Protocol):
    """Any object whose class is a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Context: TypeAlias = Mapping[str, Any] | DataclassInstance

_json = json.JSONEncoder(default=as_json, allow_nan=False, ensure_ascii=False)
_SCALARS = (str, int, float, bool, NoneType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What the contexts of an e-mail type, or the payloads of a topic, hold."""

    name: str
    """Of the e-mail type or topic."""

    noun: Literal["context", "payload"]
    error: type[EmailQueueError]
    """Class of the error of what does not fit."""

    described_by: type | None
    """Its dataclass; None: a mapping of names to types."""

    fields: Fields
    stored: Fields
    """The same fields, for what was stored by an older program."""

    @classmethod
    def of(cls, described: type | tuple[Mapping[str, Any], Mapping[str, Any]], *, name: str, **subject: Any) -> Schema:
        """Return the schema of a dataclass, or of mappings of the needed and the optional fields. Raises TypeError."""
        strict, lenient = Compiler(), Compiler(lenient=True)
        if isinstance(described, tuple):
            fields, stored = (each.fields_named(*described, owner=repr(name)) for each in (strict, lenient))
            return cls(name=name, described_by=None, fields=fields, stored=stored, **subject)
        fields, stored = (each.fields_of_class(described) for each in (strict, lenient))
        return cls(name=name, described_by=described, fields=fields, stored=stored, **subject)

    def given(self, value: Any) -> Mapping[str, Any]:
        """Return the fields of a mapping, or of an object of the dataclass. Raises `error` for anything else."""
        if isinstance(value, Mapping):
            return value
        if self.described_by and isinstance(value, self.described_by):
            return fields_of(value)
        use = f"an object of {self.described_by.__name__} or " if self.described_by else ""
        raise self.error(
            f"The {self.noun} of {self.name!r} is {value!r:.200}. Use {use}a mapping of field names to values."
        )

    def known(self, value: Any) -> Mapping[str, Any]:
        """Return what given() does. Raises `error` for a field that there is not, too."""
        given = self.given(value)
        if unknown := self.fields.unknown(given):
            raise self.error(
                f"{self.name!r} takes no {', '.join(map(repr, unknown))} in its {self.noun}. "
                f"It takes {', '.join(self.fields.types)}."
            )
        return given

    def needs(self, missing: Sequence[str]) -> str:
        """Return the sentence that says which fields are missing."""
        return f"{self.name!r} needs {', '.join(map(repr, missing))} in its {self.noun}."

    def encode(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return fields as JSON carries them. Raises `error`."""
        return {name: self._carried(name, value) for name, value in self._read(self.fields, given).items()}

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of what encode() gave; None, and what is no field any more, as it is. Raises `error`."""
        return {**stored, **self._read(self.stored, {name: one for name, one in stored.items() if one is not None})}

    def _read(self, fields: Fields, given: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return fields.read(given)
        except Mismatch as error:
            raise self._refusal(error.path[1:], str(error)) from None
        except RecursionError:
            raise self.error(f"The {self.noun} of {self.name!r} holds itself, which JSON cannot carry.") from None

    def _carried(self, name: str, value: Any) -> Any:
        try:
            text = _json.encode(value)
            text.encode()  # half a surrogate pair passes JSON's own escapes and fails in UTF-8 and PostgreSQL
        except ValueError as error:
            raise self._refusal(name, f"is {value!r:.200}, which JSON cannot carry: {error}.") from None
        if "\\u0000" in text and _holds_nul(value):
            raise self._refusal(name, f"holds a NUL character, which databases refuse: {value!r:.200}.")
        return value if type(value) in _SCALARS else json.loads(text)

    def _refusal(self, path: str, reason: str) -> EmailQueueError:
        return self.error(f"{path!r} of {self.name!r} {reason}")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, [*value, *value.values()]))
    return any(map(_holds_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value
