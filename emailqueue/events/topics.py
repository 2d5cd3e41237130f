"""Which topics there are; each is a Django signal."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from types import MappingProxyType
from typing import Any

from django.dispatch import Signal

from emailqueue.errors import InvalidPayload, UnknownTopic
from emailqueue.schema.schema import Schema

Receiver = Callable[..., object]
_registry: dict[str, Topic] = {}


class Topic(Signal):
    """
    A kind of event: a Django signal with a name and a dataclass that describes its payload.

    Receivers connect as to any signal and are called by a worker with signal, sender (that dataclass) and
    event. Define topics where the web and the workers import them. Raises ValueError for a name that is
    taken or is not made of lower-case words and dots, and for a payload that is no dataclass; TypeError for a
    field of a type that JSON cannot carry.
    """

    def __init__(self, name: str, *, payload: type) -> None:
        super().__init__()
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
            raise ValueError(f"{name!r} cannot name a topic. Use lower-case words and dots: 'order.shipped'.")
        self.name = name
        self.payload = payload
        if not is_dataclass(payload):
            raise ValueError(f"{payload!r} cannot describe a payload. Use a frozen, keyword-only dataclass.")
        self.schema = Schema.of(payload, name=name, noun="payload", error=InvalidPayload)
        if _registry.setdefault(name, self) is not self:
            raise ValueError(f"The topic {name!r} exists already, for {_registry[name].payload!r}.")

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    def validate(self, payload: object) -> dict[str, Any]:
        """
        Return `payload`, a mapping or an instance of the dataclass, as the plain dict that an event carries.

        Defaults are filled in, fields that are None are left out. Raises InvalidPayload.
        """
        given = self.schema.known(payload)
        if missing := self.schema.fields.missing(given):
            raise InvalidPayload(self.schema.needs(missing))
        defaults = {name: make() for name, make in self.schema.fields.defaults.items() if name not in given}
        return {name: value for name, value in self.schema.encode({**given, **defaults}).items() if value is not None}

    def live_receivers(self) -> list[Receiver]:
        """Return the receivers of an event: synchronous ones, then asynchronous ones, as they were connected."""
        synchronous, asynchronous = self._live_receivers(self.payload)
        return [*synchronous, *asynchronous]

    def uid_of(self, receiver: Receiver) -> str:
        """Return the dispatch_uid that a receiver was connected with, if it is text; empty otherwise."""
        for (uid, _sender), connected, *_ in self.receivers:
            live = connected() if isinstance(connected, weakref.ReferenceType) else connected
            if live == receiver and isinstance(uid, str):
                return uid
        return ""


def get_topic(topic: str | Topic) -> Topic:
    """Return the topic of that name; a Topic is returned as it is. Raises UnknownTopic."""
    if isinstance(topic, Topic):
        return topic
    try:
        return _registry[topic]
    except (KeyError, TypeError):
        use = f"Use one of {', '.join(_registry)}, or define it" if _registry else "None is defined yet: use Topic()"
        raise UnknownTopic(f"{topic!r} is not a topic. {use}.") from None


def all_topics() -> Mapping[str, Topic]:
    """Return all topics by name, read-only."""
    return MappingProxyType(_registry)
