"""What kinds of e-mail there are, which context each needs, and how it is queued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, Unpack

from emailqueue.conf import get_settings
from emailqueue.errors import InvalidAddress, InvalidContext, MissingContext, TooManyRecipients, UnknownEmailType
from emailqueue.jobs.job import NewJob, new_id
from emailqueue.jobs.priority import Priority
from emailqueue.schema.address import is_mailbox, valid_address
from emailqueue.schema.fields import is_object
from emailqueue.schema.schema import DataclassInstance, Schema

# emailqueue.enqueue is imported where it is called: models and apps modules make and register types, and its table
# cannot be loaded before them.
if TYPE_CHECKING:
    from typing_extensions import TypeVar  # typing's own has a default from Python 3.13 on

    from emailqueue.enqueue.call import Common, Options, PerCall

    C = TypeVar("C", bound=DataclassInstance, default=Any)
else:
    from typing import TypeVar

    C = TypeVar("C")

__all__ = ["Attachment", "EmailType", "email_types", "get_email_type", "register"]

Attachment = tuple[str, str | bytes, str | None]
"""File name, content and MIME type; None: by the file name."""

Recipient: TypeAlias = str | tuple[str, Mapping[str, Any] | C]
"""An address, or a tuple (address, own context)."""

MAX_RECIPIENTS = 100_000


@dataclass(frozen=True, kw_only=True)  # without slots: a cached property needs a place
class EmailType(Generic[C]):
    """
    One kind of e-mail: its template, its default priority and the context that it takes.

    The context is described by a dataclass (`context`), or by `needed` and `optional`. Once it is registered,
    queue(), queue_bulk() and schedule() queue mails of it; a context is a mapping or an object of the dataclass.
    """

    name: str
    """Name in calls, logs and the admin, for example "order-shipped"."""

    template: str
    """Template with the blocks subject, text_body and html_body."""

    priority: Priority = Priority.NORMAL
    """Priority of a call that names none."""

    context: type[C] | None = None
    """Dataclass of the context. Its fields hold what docs/types.md lists; those without a default are needed."""

    needed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every mail of this type must have, with the type of each, or a tuple of types."""

    optional: Mapping[str, Any] = field(default_factory=dict)
    """Fields that may be absent or None, with the type of each."""

    defaults: Mapping[str, str] = field(default_factory=dict)
    """Needed fields that are built when absent: a format of frontend_url and other fields of the context."""

    from_email: str = ""
    """From; empty: DEFAULT_FROM_EMAIL."""

    reply_to: Sequence[str] = ()
    """Reply-To."""

    attachments: Callable[[Mapping[str, Any]], Iterable[Attachment]] | None = None
    """Called with the context at each delivery, in the language of the mail; what it raises is a failed attempt."""

    language: Callable[[str, Mapping[str, Any]], str | None] | None = None
    """Called with recipient and context at delivery, for a mail whose call names no language. None: LANGUAGE_CODE."""

    subscribed: bool = False
    """Whether recipients may unsubscribe: mails carry List-Unsubscribe, and are skipped once they have."""

    sample: Mapping[str, Any] | C | None = None
    """A context as calls give it: of previews, and of the doctor's test of the template."""

    stale_after: float | timedelta | None = None
    """Age, in seconds or as a timedelta, from which the admin asks before a dead letter is retried; None: never."""

    def __post_init__(self) -> None:
        if self.context and (self.needed or self.optional):
            raise TypeError(
                f"{self.name!r} has both context and needed or optional. Put all fields into the dataclass."
            )
        if isinstance(self.reply_to, str | bytes):
            raise TypeError(f"reply_to of {self.name!r} is {self.reply_to!r}. Use a list of addresses.")
        self._check_addresses("reply_to", self.reply_to)
        self._check_addresses("from_email", [self.from_email] if self.from_email else [])
        _ = self.schema  # which refuses types that JSON cannot carry

    def queue(
        self, to: str, context: Mapping[str, Any] | C, *, using: str | None = None, **options: Unpack[PerCall]
    ) -> str:
        """
        Queue one e-mail and return its job id (32 hex digits).

        Inside a transaction of the database `using` (default: "default") the job reaches Redis on commit, and never
        after a rollback. Everything is checked before: raises UnknownEmailType for a type that is not registered,
        InvalidContext, MissingContext, InvalidAddress, InvalidPriority, InvalidAttempts, InvalidBackoff, InvalidTime,
        InvalidLanguage or InvalidIdempotencyKey. Redis away: the mail waits in the outbox table, and the call takes a
        second at most.
        """
        from emailqueue.enqueue.submit import submit

        job = self.job(to, context, **options)
        submit([job], using=using)
        return job.id

    def queue_bulk(
        self,
        recipients: Iterable[Recipient[C]],
        context: Mapping[str, Any] | C,
        *,
        using: str | None = None,
        **options: Unpack[PerCall],
    ) -> list[str]:
        """
        Queue one e-mail for each recipient, all or none of them, and return the job ids in order.

        A recipient is an address, or a tuple (address, own context) whose fields overlay `context`.
        Raises what queue() raises, before anything is queued, and TooManyRecipients above
        100,000. An idempotency key covers the whole call.
        """
        from emailqueue.enqueue.submit import submit

        call = self.options(**options)
        checked = [self._checked(to, own) for to, own in self.recipients(recipients, context)]
        key = call.idempotency_key
        jobs = [
            call.job(self.name, to, own, key=None if key is None else f"{key}\0{number}")
            for number, (to, own) in enumerate(checked)
        ]
        submit(jobs, using=using, call="" if key is None else new_id(f"bulk:{key}"))
        return [job.id for job in jobs]

    def schedule(
        self,
        to: str,
        context: Mapping[str, Any] | C,
        at: datetime,
        *,
        using: str | None = None,
        **options: Unpack[Common],
    ) -> str:
        """Queue one e-mail that is due at `at`, an aware datetime (InvalidTime otherwise). See queue()."""
        return self.queue(to, context, using=using, at=at, **options)

    def job(self, to: str, context: Mapping[str, Any] | C, **options: Unpack[PerCall]) -> NewJob:
        """Return the job that queue() queues. Raises what it raises."""
        call = self.options(**options)
        return call.job(self.name, *self._checked(to, context), key=call.idempotency_key)

    def options(self, **options: Unpack[PerCall]) -> Options:
        """Return the checked options of a call. Raises UnknownEmailType when the type is not registered."""
        from emailqueue.enqueue.call import Options

        get_email_type(self.name)
        return Options.parse(default=self.priority, **options)

    def recipients(
        self, recipients: Iterable[Recipient[C]], context: Mapping[str, Any] | C
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """
        Return each recipient with the context that is meant for it: the common one, overlaid with its own.

        Of an own object the fields count that differ from their default, so that a common field is not lost to one
        that was left out. Raises TooManyRecipients, InvalidContext for an object of another class, or InvalidAddress
        for something that is no recipient.
        """
        if isinstance(recipients, str | bytes):
            raise InvalidAddress(f"recipients is {recipients!r}. Use a list of addresses or of (address, own context).")
        common = self.schema.given(context)
        pairs: list[tuple[str, Mapping[str, Any]]] = []
        for recipient in recipients:
            if len(pairs) == MAX_RECIPIENTS:
                raise TooManyRecipients(
                    f"One call takes at most {MAX_RECIPIENTS:,} recipients. Split it into several calls."
                )
            if isinstance(recipient, str):
                pairs.append((recipient, common))
            elif _is_pair(recipient):
                pairs.append((recipient[0], {**common, **self._own(recipient[1])}))
            else:
                raise InvalidAddress(
                    f"{recipient!r} is no recipient. Use an address or a tuple (address, own context)."
                )
        return pairs

    @cached_property
    def schema(self) -> Schema:
        """The fields of the context."""
        described = self.context or (self.needed, self.optional)
        return Schema.of(described, name=self.name, noun="context", error=InvalidContext)

    def complete(self, context: Mapping[str, Any] | C, *, frontend_url: str) -> dict[str, Any]:
        """
        Return `context` as JSON carries it, checked and with its defaults filled in.

        Raises MissingContext for a needed field that is absent, InvalidContext for an unknown
        field, a value of the wrong type, one that JSON cannot carry or one that holds NUL.
        """
        given = self.schema.fields.filled(self.schema.known(context))
        given |= self._built(given, frontend_url)
        if missing := self.schema.fields.missing(given):
            raise MissingContext(self._missing(missing))
        return self.schema.encode(given)

    def _checked(self, to: str, context: Mapping[str, Any] | C) -> tuple[str, dict[str, Any]]:
        return valid_address(to), self.complete(context, frontend_url=get_settings().frontend_url)

    def _own(self, context: Mapping[str, Any] | C) -> Mapping[str, Any]:
        fields = self.schema.given(context)
        return fields if fields is context else self.schema.fields.set_in(context)

    def _check_addresses(self, field_name: str, addresses: Sequence[str]) -> None:
        for address in addresses:
            if not is_mailbox(address):
                raise ValueError(
                    f"{field_name} of {self.name!r} holds {address!r}. Use one address such as 'help@example.com' or "
                    "'The Shop <help@example.com>'; a name with a comma stands in double quotes."
                )

    def _built(self, given: Mapping[str, Any], frontend_url: str) -> dict[str, str]:
        built = {}
        for key, form in self.defaults.items():
            if key not in given:
                try:
                    built[key] = form.format(frontend_url=frontend_url, **given)
                except KeyError:
                    continue  # a field that the form is built from is absent, too
        return built

    def _missing(self, missing: list[str]) -> str:
        text = self.schema.needs(missing)
        forms = [f"{key} is built from {self.defaults[key]}" for key in missing if key in self.defaults]
        return f"{text} ({'; '.join(forms)}.)" if forms else text


def _is_pair(recipient: Any) -> bool:
    if not isinstance(recipient, tuple) or len(recipient) != 2:
        return False
    return isinstance(recipient[1], Mapping) or is_object(recipient[1])


RESERVED = "message"
"""What the mail is called that has no type, since it came through the e-mail backend."""


def register(email_type: EmailType[C]) -> EmailType[C]:
    """
    Make `email_type` known under its name and return it.

    Call it where the project starts, for example in AppConfig.ready(), in the web and in the
    workers. Raises ValueError when another type already has the name, or the e-mail backend.
    """
    if email_type.name == RESERVED:
        raise ValueError(f"An e-mail type cannot be named {RESERVED!r}: so the mail of the e-mail backend is called.")
    known = _registry.setdefault(email_type.name, email_type)
    if known != email_type:
        raise ValueError(f"The e-mail type {email_type.name!r} is registered already, with other values: {known!r}.")
    return email_type


def get_email_type(email_type: str | EmailType[C]) -> EmailType[C]:
    """Return the registered type of that name, or of the name of that type. Raises UnknownEmailType."""
    name = email_type.name if isinstance(email_type, EmailType) else email_type
    try:
        return _registry[name]
    except (KeyError, TypeError):
        known = ", ".join(_registry)
        use = f"Use one of {known}, or register() it" if _registry else "None is registered yet: use register()"
        raise UnknownEmailType(f"{name!r} is not an e-mail type. {use}.") from None


def email_types() -> Mapping[str, EmailType]:
    """Return all registered types by name, read-only."""
    return MappingProxyType(_registry)


_registry: dict[str, EmailType] = {}
