"""How a topic is connected to an e-mail type in one line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from emailqueue.email_types import MAX_RECIPIENTS, EmailType, get_email_type
from emailqueue.enqueue.call import PerCall
from emailqueue.errors import InvalidSubscriber
from emailqueue.events.event import Event
from emailqueue.events.filters import When, parse_filter, require_fields
from emailqueue.events.subscribers import Subscriber, connect_once
from emailqueue.events.topics import Topic, get_topic
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.priority import Priority

Addresses = str | Iterable[str] | None
To = str | Callable[[Event], Addresses]
FieldsOrFunction = Mapping[str, str] | Callable[[Event], Mapping[str, Any]]
ContextOf = Sequence[str] | FieldsOrFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailFor:
    """The handler that queues the mails of one type for an event."""

    email_type: EmailType
    to: To
    context: FieldsOrFunction
    """Field of the context to field of the payload, or what makes the whole of it."""

    options: PerCall

    def __call__(self, event: Event) -> None:
        to = self.to(event) if callable(self.to) else event.payload.get(self.to)
        once_each = list(dict.fromkeys([to] if isinstance(to, str) else to or []))
        context = self._context(event)
        for start in range(0, len(once_each), MAX_RECIPIENTS):
            self.email_type.queue_bulk(once_each[start : start + MAX_RECIPIENTS], context, **self.options)

    def _context(self, event: Event) -> Mapping[str, Any]:
        if callable(self.context):
            return self.context(event)
        return {name: event.payload[field] for name, field in self.context.items() if field in event.payload}


def subscribe_email(
    topic: str | Topic,
    email_type: str | EmailType,
    *,
    to: To,
    context: ContextOf | None = None,
    when: When | None = None,
    name: str | None = None,
    priority: Priority | int | str | None = None,
    attempts: int | None = None,
    backoff: Backoff | Mapping[str, Any] | None = None,
    delay: float | timedelta | None = None,
) -> None:
    """
    Queue an e-mail of `email_type` for every event of `topic`.

        subscribe_email("order.shipped", "order-shipped", to="customer_email", when={"country": ["DE", "AT"]})

    `to` is a field of the payload that holds an address or a list of addresses, or a function of the event that
    returns one of these; for none, no mail is queued, and for an address that comes twice, one. `context` is a
    list of fields of the payload, a mapping of fields of the context to fields of the payload, or a function of
    the event; by default all fields that the e-mail type takes. `when`: see subscribe(). `priority`, `attempts`,
    `backoff` and `delay` are those of the mails: see queue_email().

    It goes by "e-mail order-shipped to customer_email" in trails and figures unless it is given a name. Call it
    where the e-mail type is registered. Raises UnknownTopic, UnknownEmailType, one of the errors of queue_email()
    for options that are wrong, or InvalidSubscriber for a field that the payload or the e-mail type has not.
    """
    signal = get_topic(topic)
    options = PerCall(priority=priority, attempts=attempts, backoff=backoff, delay=delay)
    kind = get_email_type(email_type)
    kind.options(**options)
    name = name or f"e-mail {kind.name} to {getattr(to, '__name__', to)}"
    _check_recipient(to, subscriber=name, topic=signal)
    fields = _context(context, kind, subscriber=name, topic=signal)
    handler = EmailFor(email_type=kind, to=to, context=fields, options=options)
    wanted = parse_filter(when, subscriber=name, topic=signal)
    connect_once(signal, Subscriber(name=name, handler=handler, filter=wanted))


def _check_recipient(to: To, *, subscriber: str, topic: Topic) -> None:
    if callable(to):
        return
    require_fields([to], asker=repr(subscriber), topic=topic)
    kind = topic.schema.fields.types[to]
    if not kind.takes("ada@example.com") and not kind.takes(["ada@example.com"]):
        raise InvalidSubscriber(
            f"{subscriber!r} takes its recipients from {to!r} of {topic.name!r}, which is {kind.must_be}. Use a field "
            "with an e-mail address or a list of them, or a function of the event."
        )


def _context(context: ContextOf | None, email_type: EmailType, *, subscriber: str, topic: Topic) -> FieldsOrFunction:
    """Return a function as it is, and anything else as a mapping of context to payload. Raises InvalidSubscriber."""
    if callable(context):
        return context
    takes, needed = email_type.schema.fields.types, email_type.schema.fields.needed
    if context is None:
        context = [field for field in takes if field in topic.schema.fields.types]
    named = [context] if isinstance(context, str) else context
    fields = dict(named) if isinstance(named, Mapping) else {field: field for field in named}
    require_fields(fields.values(), asker=repr(subscriber), topic=topic)
    if unknown := [field for field in fields if field not in takes]:
        raise InvalidSubscriber(
            f"{subscriber!r} has {', '.join(map(repr, unknown))} in its context, which the e-mail type does not take. "
            f"It takes {', '.join(takes)}."
        )
    if missing := [field for field in needed if field not in fields and field not in email_type.defaults]:
        raise InvalidSubscriber(
            f"{subscriber!r} has no {', '.join(map(repr, missing))} in its context, which the e-mail type needs. Pass "
            "context={...}, a mapping of such fields to fields of the payload, or a function of the event."
        )
    return fields
