"""Which events a subscriber takes: its `when`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from emailqueue.errors import InvalidPayload, InvalidSubscriber
from emailqueue.events.event import Event, awaited
from emailqueue.events.topics import Topic

When = Callable[[Event], object] | Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFilter:
    """Takes events whose payload has, in each of some fields, one of some values."""

    wanted: Mapping[str, tuple[Any, ...]]

    def __str__(self) -> str:
        return " and ".join(f"{name} is {_alternatives(values)}" for name, values in self.wanted.items())

    def mismatch(self, event: Event) -> str:
        """Return why the event is skipped; empty when it is taken."""
        for name, values in self.wanted.items():
            value = event.payload.get(name)
            if value not in values:
                return f"{name} is {value!r:.200}, not {_alternatives(values)}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredicateFilter:
    """Takes events for which a function says so; it may be async. What that raises fails the attempt."""

    predicate: Callable[[Event], object]

    def __str__(self) -> str:
        # A callable object, or a partial one, goes by the name of its class.
        named = self.predicate if hasattr(self.predicate, "__name__") else type(self.predicate)
        return f"{named.__name__}(event)"

    def mismatch(self, event: Event) -> str:
        answer = awaited(self.predicate(event))
        return "" if answer else f"{self} was {answer!r:.200}"


Filter = FieldFilter | PredicateFilter


def parse_filter(when: When | None, *, subscriber: str, topic: Topic) -> Filter | None:
    """Return `when` as a filter for events of `topic`. Raises InvalidSubscriber for one that can never match."""
    if when is None:
        return None
    if isinstance(when, Mapping):
        if not when:
            raise InvalidSubscriber(f"The filter of {subscriber!r} is empty. Leave `when` out to take every event.")
        require_fields(when, asker=f"The filter of {subscriber!r}", topic=topic)
        wanted = {name: _wanted(name, values, subscriber=subscriber, topic=topic) for name, values in when.items()}
        return FieldFilter(wanted=wanted)
    if not callable(when):
        raise InvalidSubscriber(
            f"The filter of {subscriber!r} is {when!r:.200}. Use a function of the event, or a mapping of fields "
            "of its payload to a value or a list of values."
        )
    return PredicateFilter(predicate=when)


def require_fields(fields: Iterable[str], *, asker: str, topic: Topic) -> None:
    """Raise InvalidSubscriber unless the payload of the topic has the fields."""
    if unknown := [field for field in fields if field not in topic.schema.fields.types]:
        raise InvalidSubscriber(
            f"{asker} asks for {', '.join(map(repr, unknown))}, which {topic.name!r} has not. "
            f"It has {', '.join(topic.schema.fields.types)}."
        )


def _wanted(name: str, values: object, *, subscriber: str, topic: Topic) -> tuple[Any, ...]:
    alternatives = _listed(values)
    if not alternatives:
        raise InvalidSubscriber(f"The filter of {subscriber!r} would skip every event: it has no value for {name!r}.")
    try:
        return tuple(topic.schema.decode(topic.schema.encode({name: value}))[name] for value in alternatives)
    except InvalidPayload as error:
        raise InvalidSubscriber(f"The filter of {subscriber!r} would skip every event: {error}") from error


def _listed(values: object) -> list[Any]:
    if isinstance(values, set | frozenset):
        return sorted(values, key=repr)  # shown in the same order each time
    return list(values) if isinstance(values, list | tuple) else [values]


def _alternatives(values: tuple[Any, ...]) -> str:
    return " or ".join(repr(value) for value in values)
