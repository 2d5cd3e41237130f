"""What a subscriber is given, and how what it returns is awaited."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import async_to_sync

from emailqueue.events.topics import get_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    Something that happened, as it was published.

    The fields of the payload are attributes, too: event.tracking_url. One that is optional and absent reads
    as None. Use event.payload["id"] for a field that is named as one of the event's own.
    """

    id: str
    """32 hex digits; the same for every subscriber and every attempt."""

    topic: str
    payload: Mapping[str, Any]
    """As Topic.validate() returned it: optional fields that were not given are absent."""

    published_at: datetime
    """Time of the call of publish(), UTC."""

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> Event:
        """Return the event that as_json() has written."""
        return cls(**{**stored, "published_at": datetime.fromisoformat(stored["published_at"])})

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a job carries them."""
        at = self.published_at.isoformat()
        return {"id": self.id, "topic": self.topic, "payload": dict(self.payload), "published_at": at}

    def __getattr__(self, name: str) -> Any:
        # Only names that are no field come here. Copying asks before there are fields.
        if not name.startswith("__") and name not in self.__slots__:
            if name in self.payload:
                return self.payload[name]
            if name in get_topic(self.topic).schema.fields.types:
                return None
            raise AttributeError(f"{self.topic!r} has no {name!r}. It has {', '.join(self.payload)}.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def awaited(answer: object) -> object:
    """Return `answer`; a coroutine, or another awaitable, is run in this thread until it has its result."""
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> object:
        return await answer

    return async_to_sync(wait)()
