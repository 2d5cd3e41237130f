"""What kinds of e-mail there are, and which context each needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from emailqueue.errors import InvalidContext, MissingContext, UnknownEmailType
from emailqueue.priority import Priority
from emailqueue.shape import Context, Kinds, Shape, Url, misfit, obstacle, plain, shape_of

__all__ = ["Attachment", "EmailType", "Url", "email_types", "get_email_type", "register"]

Attachment = tuple[str, str | bytes, str | None]
"""File name, content and MIME type; None: by the file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailType:
    """
    One kind of e-mail: its template, its default priority and the context that it takes.

    The context is described by a dataclass (`context`), or by `needed` and `optional`.
    """

    name: str
    """Name in calls, logs and the admin, for example "order-shipped"."""

    template: str
    """Template with the blocks subject, text_body and html_body."""

    priority: Priority = Priority.NORMAL
    """Priority of a call that names none."""

    context: type | None = None
    """Dataclass of the context. Its fields hold what JSON can carry; those without a default are needed."""

    needed: Mapping[str, Kinds] = field(default_factory=dict)
    """Fields that every mail of this type must have, with the type of each: str, int, float or Url."""

    optional: Mapping[str, Kinds] = field(default_factory=dict)
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

    sample: Context | None = None
    """A context as calls give it: of previews, and of the doctor's test of the template."""

    stale_after: float | timedelta | None = None
    """Age, in seconds or as a timedelta, from which the admin asks before a dead letter is retried; None: never."""

    def __post_init__(self) -> None:
        if self.context and (self.needed or self.optional):
            raise TypeError(
                f"{self.name!r} has both context and needed or optional. Put all fields into the dataclass."
            )
        self.shape()

    def shape(self) -> Shape:
        """Return the fields of the context."""
        return shape_of(self.context) if self.context else Shape(needed=self.needed, optional=self.optional)

    def complete(self, context: Context, *, frontend_url: str) -> dict[str, Any]:
        """
        Return `context`, checked and with its defaults filled in.

        Raises MissingContext for a needed field that is absent, InvalidContext for an unknown
        field, a value of the wrong type, one that JSON cannot carry or one that holds NUL.
        """
        fields = plain(context)
        if not isinstance(fields, Mapping) or (fields is not context and not isinstance(context, self.context or ())):
            use = f"an object of {self.context.__name__} or " if self.context else ""
            raise InvalidContext(
                f"The context of {self.name!r} is {context!r}. Use {use}a mapping of field names to values."
            )
        shape = self.shape()
        self._refuse_unknown(fields, shape)
        given = {**shape.values, **{key: value for key, value in fields.items() if value is not None}}
        given |= self._built(given, frontend_url)
        missing = [key for key in shape.needed if key not in given]
        if missing:
            raise MissingContext(self._missing(missing))
        for key, value in given.items():
            self._check(key, value, shape)
        return given

    def _refuse_unknown(self, context: Mapping[str, Any], shape: Shape) -> None:
        known = [*shape.needed, *shape.optional]
        unknown = [key for key in context if key not in known]
        if unknown:
            raise InvalidContext(
                f"{self.name!r} takes no {', '.join(map(repr, unknown))} in its context. It takes {', '.join(known)}."
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
        text = f"{self.name!r} needs {', '.join(map(repr, missing))} in its context."
        forms = [f"{key} is built from {self.defaults[key]}" for key in missing if key in self.defaults]
        return f"{text} ({'; '.join(forms)}.)" if forms else text

    def _check(self, key: str, value: Any, shape: Shape) -> None:
        if expected := misfit(value, shape.needed.get(key) or shape.optional[key]):
            raise InvalidContext(f"{key!r} of {self.name!r} is {value!r}. It must be {expected}.")
        if reason := obstacle(value):
            raise InvalidContext(f"{key!r} of {self.name!r} {reason}")


RESERVED = "message"
"""What the mail is called that has no type, since it came through the e-mail backend."""


def register(email_type: EmailType) -> EmailType:
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


def get_email_type(name: str) -> EmailType:
    """Return the registered type of that name. Raises UnknownEmailType."""
    try:
        return _registry[name]
    except (KeyError, TypeError):
        known = ", ".join(_registry)
        raise UnknownEmailType(f"{name!r} is not an e-mail type. Use one of {known}, or register() it.") from None


def email_types() -> Mapping[str, EmailType]:
    """Return all registered types by name, read-only."""
    return MappingProxyType(_registry)


VOTE_CONFIRMATION = EmailType(
    name="vote-confirmation",
    template="emailqueue/email/vote-confirmation.html",
    priority=Priority.NORMAL,
    needed={"model_name": str, "profile_url": Url},
    optional={"model_id": (str, int)},
    defaults={"profile_url": "{frontend_url}/models/{model_id}"},
    sample={"model_name": "Aurora", "profile_url": "https://example.com/models/7"},
)
PROGRESS_UPDATE = EmailType(
    name="progress-update",
    template="emailqueue/email/progress-update.html",
    priority=Priority.LOW,
    needed={"model_name": str, "vote_count": int, "milestone": (int, str)},
    optional={"profile_url": Url},
    sample={
        "model_name": "Aurora",
        "vote_count": 1003,
        "milestone": 1000,
        "profile_url": "https://example.com/models/7",
    },
)
RANK_UPDATE = EmailType(
    name="rank-update",
    template="emailqueue/email/rank-update.html",
    priority=Priority.CRITICAL,
    needed={"model_name": str, "rank_position": int, "previous_rank": int, "vote_count": int},
    optional={"profile_url": Url},
    sample={"model_name": "Aurora", "rank_position": 3, "previous_rank": 7, "vote_count": 1003},
)
REWARD_DELIVERY = EmailType(
    name="reward-delivery",
    template="emailqueue/email/reward-delivery.html",
    priority=Priority.HIGH,
    needed={"reward_name": str, "claim_url": Url},
    optional={"reward_value": (str, float)},
    defaults={"claim_url": "{frontend_url}/rewards"},
    sample={"reward_name": "Early supporter badge", "reward_value": "€25", "claim_url": "https://example.com/rewards"},
)
REFERRAL_JOIN = EmailType(
    name="referral-join",
    template="emailqueue/email/referral-join.html",
    priority=Priority.LOW,
    needed={"user_name": str},
    optional={"referrer_name": str, "referral_url": Url},
    sample={"user_name": "Ada", "referrer_name": "Grace", "referral_url": "https://example.com/join?ref=ADA"},
)
REFERRAL_MILESTONE = EmailType(
    name="referral-milestone",
    template="emailqueue/email/referral-milestone.html",
    priority=Priority.CRITICAL,
    needed={"user_name": str, "referral_count": int},
    optional={"reward_name": str},
    sample={"user_name": "Ada", "referral_count": 5, "reward_name": "Gold badge"},
)

_registry: dict[str, EmailType] = {
    built_in.name: built_in
    for built_in in (
        VOTE_CONFIRMATION,
        PROGRESS_UPDATE,
        RANK_UPDATE,
        REWARD_DELIVERY,
        REFERRAL_JOIN,
        REFERRAL_MILESTONE,
    )
}
