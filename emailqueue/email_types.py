"""What kinds of e-mail there are, and which context each needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from emailqueue.errors import InvalidContext, MissingContext, UnknownEmailType
from emailqueue.priority import Priority


class Url(str):
    """Type of a context field that becomes a link: an absolute http or https address."""


type_names = {str: "text", int: "a whole number", float: "a number", Url: "an http(s) address"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailType:
    """One kind of e-mail: its template, its default priority and the context that it takes."""

    name: str
    """Name in calls, logs and the admin, for example "order-shipped"."""

    template: str
    """Template with the blocks subject, text_body and html_body."""

    priority: Priority = Priority.NORMAL
    """Priority of a call that names none."""

    needed: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    """Fields that every mail of this type must have, with the type of each: str, int, float or Url."""

    optional: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    """Fields that may be absent or None, with the type of each."""

    defaults: Mapping[str, str] = field(default_factory=dict)
    """Needed fields that are built when absent: a format of frontend_url and other fields of the context."""

    sample: Mapping[str, Any] = field(default_factory=dict)
    """A context as calls give it, with which the doctor renders the template; empty: it cannot."""

    stale_after: float | timedelta | None = None
    """Age, in seconds or as a timedelta, from which the admin asks before a dead letter is retried; None: never."""

    def complete(self, context: Mapping[str, Any], *, frontend_url: str) -> dict[str, Any]:
        """
        Return `context`, checked and with its defaults filled in.

        Raises MissingContext for a needed field that is absent, InvalidContext for an unknown
        field, a value of the wrong type, one that JSON cannot carry or one that holds NUL.
        """
        if not isinstance(context, Mapping):
            raise InvalidContext(
                f"The context of {self.name!r} is {context!r}. Use a mapping of field names to values."
            )
        self._refuse_unknown(context)
        given = {key: value for key, value in context.items() if value is not None}
        given |= self._built(given, frontend_url)
        missing = [key for key in self.needed if key not in given]
        if missing:
            raise MissingContext(self._missing(missing))
        for key, value in given.items():
            self._check(key, value)
        return given

    def _refuse_unknown(self, context: Mapping[str, Any]) -> None:
        known = [*self.needed, *self.optional]
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

    def _check(self, key: str, value: Any) -> None:
        expected = self.needed.get(key) or self.optional[key]
        kinds = expected if isinstance(expected, tuple) else (expected,)
        if not any(_fits(value, kind) for kind in kinds):
            names = " or ".join(type_names.get(kind, kind.__name__) for kind in kinds)
            raise InvalidContext(f"{key!r} of {self.name!r} is {value!r}. It must be {names}.")
        try:
            # Encoded, since half a surrogate pair passes JSON's own escapes and fails in UTF-8 and PostgreSQL.
            text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidContext(f"{key!r} of {self.name!r} is {value!r}, which JSON cannot carry: {error}.") from error
        if b"\\u0000" in text and _holds_nul(value):
            raise InvalidContext(f"{key!r} of {self.name!r} holds a NUL character, which databases refuse: {value!r}.")


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


def _fits(value: Any, kind: type) -> bool:
    if kind is Url:
        return isinstance(value, str) and _is_link(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, bool):  # bool is an int to Python, but "True votes" is never meant
        return kind is bool
    return isinstance(value, kind)


def _is_link(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not any(map(str.isspace, value))


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))


VOTE_CONFIRMATION = EmailType(
    name="vote-confirmation",
    template="emailqueue/email/vote-confirmation.html",
    priority=Priority.NORMAL,
    needed={"model_name": str, "profile_url": Url},
    optional={"model_id": (str, int)},
    defaults={"profile_url": "{frontend_url}/models/{model_id}"},
    sample={"model_name": "Aurora", "model_id": 7},
)
PROGRESS_UPDATE = EmailType(
    name="progress-update",
    template="emailqueue/email/progress-update.html",
    priority=Priority.LOW,
    needed={"model_name": str, "vote_count": int, "milestone": (int, str)},
    optional={"profile_url": Url},
    sample={"model_name": "Aurora", "vote_count": 1000, "milestone": 1000},
)
RANK_UPDATE = EmailType(
    name="rank-update",
    template="emailqueue/email/rank-update.html",
    priority=Priority.CRITICAL,
    needed={"model_name": str, "rank_position": int, "previous_rank": int, "vote_count": int},
    optional={"profile_url": Url},
    sample={"model_name": "Aurora", "rank_position": 1, "previous_rank": 4, "vote_count": 1280},
)
REWARD_DELIVERY = EmailType(
    name="reward-delivery",
    template="emailqueue/email/reward-delivery.html",
    priority=Priority.HIGH,
    needed={"reward_name": str, "claim_url": Url},
    optional={"reward_value": (str, float)},
    defaults={"claim_url": "{frontend_url}/rewards"},
    sample={"reward_name": "Gold badge", "reward_value": "10 credits"},
)
REFERRAL_JOIN = EmailType(
    name="referral-join",
    template="emailqueue/email/referral-join.html",
    priority=Priority.LOW,
    needed={"user_name": str},
    optional={"referrer_name": str, "referral_url": Url},
    sample={"user_name": "Ada", "referrer_name": "Grace"},
)
REFERRAL_MILESTONE = EmailType(
    name="referral-milestone",
    template="emailqueue/email/referral-milestone.html",
    priority=Priority.CRITICAL,
    needed={"user_name": str, "referral_count": int},
    optional={"reward_name": str},
    sample={"user_name": "Ada", "referral_count": 10, "reward_name": "Gold badge"},
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
