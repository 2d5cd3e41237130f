"""Every error that the event bus raises to its callers."""

from emailqueue.errors import EmailQueueError


class UnknownTopic(EmailQueueError, LookupError):
    """No topic has that name."""


class InvalidPayload(EmailQueueError, ValueError):
    """The payload does not fit the topic."""


class InvalidSubscriber(EmailQueueError, ValueError):
    """A worker in another process could not find the handler by its name."""


class MissingSubscriber(EmailQueueError, LookupError):
    """The subscriber that an event was dispatched to is connected no longer."""


class UnknownEvent(EmailQueueError, LookupError):
    """An id leads to no event, or its trail has expired."""
