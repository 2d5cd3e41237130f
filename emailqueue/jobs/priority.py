"""Which priorities and queues there are."""

from __future__ import annotations

from enum import IntEnum

from emailqueue.errors import InvalidPriority


class Priority(IntEnum):
    """Urgency of an e-mail; each priority is an RQ queue of its own."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4

    @property
    def queue(self) -> str:
        """Name of the RQ queue that carries this priority."""
        return self.name.lower()

    @classmethod
    def parse(cls, value: Priority | int | str) -> Priority:
        """
        Return the priority that `value` names: a member, its number or its name in any case.

        Raises InvalidPriority for anything else.
        """
        if isinstance(value, str) and value.upper() in cls.__members__:
            return cls[value.upper()]
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(cls):
            return cls(value)
        raise InvalidPriority(
            f"{value!r} is not a priority. Use Priority.CRITICAL, HIGH, NORMAL or LOW, or their numbers 1 to 4."
        )


EMAIL_QUEUES: tuple[str, ...] = tuple(priority.queue for priority in Priority)
EVENT_QUEUE = "events"
QUEUES: tuple[str, ...] = (*EMAIL_QUEUES, EVENT_QUEUE)
