"""How a payload is checked against the dataclass of its topic."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from emailqueue.events.errors import InvalidPayload
from emailqueue.events.field_types import FieldType, field_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The fields of the payload of one topic."""

    topic: str
    payload: type
    types: Mapping[str, FieldType]
    needed: tuple[str, ...]
    """Fields without a default."""

    @classmethod
    def of(cls, payload: type, *, topic: str) -> Schema:
        """Read the fields of a dataclass. Raises ValueError for anything else, and for a field of another type."""
        if not is_dataclass(payload):
            raise ValueError(f"{payload!r} cannot describe a payload. Use a frozen, keyword-only dataclass.")
        return cls(
            topic=topic,
            payload=payload,
            types=_types(payload, topic=topic),
            needed=tuple(
                field.name for field in fields(payload) if field.default is MISSING and field.default_factory is MISSING
            ),
        )

    def checked(self, payload: object) -> dict[str, Any]:
        """
        Return `payload` as JSON carries it, with its defaults filled in and fields that are None left out.

        Raises InvalidPayload.
        """
        given = self._given(payload)
        for name, value in given.items():
            self._check(name, value)
        whole = payload if isinstance(payload, self.payload) else self.payload(**given)
        values = {name: getattr(whole, name) for name in self.types}
        return {name: self._as_json(name, value) for name, value in values.items() if value is not None}

    def checked_value(self, name: str, value: object) -> Any:
        """Return what one field may hold, as JSON carries it. Raises InvalidPayload."""
        self._check(name, value)
        return self._as_json(name, value)

    def _given(self, payload: object) -> dict[str, Any]:
        if isinstance(payload, self.payload):
            return {name: getattr(payload, name) for name in self.types}
        if not isinstance(payload, Mapping):
            use = f"Use a mapping or {self.payload.__qualname__}(...)."
            raise InvalidPayload(f"The payload of {self.topic!r} is {payload!r:.200}. {use}")
        if unknown := ", ".join(repr(name) for name in payload if name not in self.types):
            takes = f"It takes {', '.join(self.types)}."
            raise InvalidPayload(f"{self.topic!r} takes no {unknown} in its payload. {takes}")
        if missing := ", ".join(repr(name) for name in self.needed if name not in payload):
            raise InvalidPayload(f"{self.topic!r} needs {missing} in its payload.")
        return dict(payload)

    def _check(self, name: str, value: object) -> None:
        if wrong := self.types[name].misfit(value):
            part, words = wrong
            verb = "is" if part is value else "holds"
            raise InvalidPayload(f"{name!r} of {self.topic!r} {verb} {part!r:.200}. It must be {words}.")

    def _as_json(self, name: str, value: object) -> Any:
        field = f"{name!r} of {self.topic!r}"
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidPayload(f"{field} is {value!r:.200}, which JSON cannot carry: {error}.") from error
        # After an even number of backslashes it is a NUL, after an odd one a text that speaks of it.
        if re.search(r"(?<!\\)(?:\\\\)*\\u0000", text):
            raise InvalidPayload(f"{field} holds a NUL character, which databases refuse: {value!r:.200}.")
        return json.loads(text)


def _types(payload: type, *, topic: str) -> dict[str, FieldType]:
    hints, types = get_type_hints(payload, include_extras=True), {}
    for field in fields(payload):
        try:
            types[field.name] = field_type(hints[field.name])
        except ValueError as error:
            raise ValueError(f"{field.name!r} of {topic!r} {error}") from None
    return types
