"""What a valid queue call is: checks it and makes the job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, TypedDict

from django.utils import translation

from emailqueue.conf import get_settings
from emailqueue.enqueue.staging import fresh_id
from emailqueue.errors import InvalidAttempts, InvalidIdempotencyKey, InvalidLanguage, InvalidTime
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.functions import DELIVER
from emailqueue.jobs.job import NewJob
from emailqueue.jobs.priority import Priority
from emailqueue.schema.address import ascii_domain

MAX_ATTEMPTS = 100


class Common(TypedDict, total=False):
    """What every queue function takes beside recipient and context."""

    priority: Priority | int | str | None
    """Default: that of the e-mail type."""

    attempts: int | None
    """Times that the mail is tried in all. Default: EMAIL_QUEUE["ATTEMPTS"]."""

    backoff: Backoff | Mapping[str, object] | None
    """Waits between the attempts. Default: EMAIL_QUEUE["BACKOFF"]."""

    language: str | None
    """Language of the mail, one of LANGUAGES. Default: what the e-mail type says, or LANGUAGE_CODE."""

    idempotency_key: str | None
    """Two calls with the same key within 24 hours queue one mail."""


class PerCall(Common, total=False):
    """What the functions take that do not schedule by their name."""

    delay: float | timedelta | None
    """Seconds to wait before the mail is due."""

    at: datetime | None
    """Time at which the mail is due; aware. The past means now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one call, checked and completed from the settings."""

    priority: Priority
    attempts: int
    backoff: Backoff
    due: str
    """See NewJob.due."""

    idempotency_key: str | None
    language: str | None

    @classmethod
    def parse(
        cls,
        *,
        default: Priority,
        priority: Priority | int | str | None = None,
        attempts: int | None = None,
        backoff: Backoff | Mapping[str, Any] | None = None,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        idempotency_key: str | None = None,
        language: str | None = None,
    ) -> Self:
        """Check a call's options; `default` is the priority of its e-mail type. Raises one of the Invalid… errors."""
        settings = get_settings()
        return cls(
            priority=default if priority is None else Priority.parse(priority),
            attempts=settings.attempts if attempts is None else valid_attempts(attempts),
            backoff=settings.backoff if backoff is None else Backoff.parse(backoff),
            due=due(delay=delay, at=at),
            idempotency_key=None if idempotency_key is None else valid_key(idempotency_key),
            language=None if language is None else valid_language(language),
        )

    def job(self, email_type: str, to: str, context: Mapping[str, Any], *, key: str | None) -> NewJob:
        """Return the job of one mail, whose address and context were checked before."""
        arguments: dict[str, Any] = {"email_type": email_type, "to": to, "context": context}
        if self.language:
            arguments["language"] = self.language
        job_id = fresh_id(key, arguments)
        return self.job_of(DELIVER, arguments, job_id=job_id, label=email_type, keyed=key is not None)

    def job_of(
        self, function: str, arguments: Mapping[str, Any], *, job_id: str, label: str, keyed: bool = False
    ) -> NewJob:
        """Return the job that calls a function which sends a mail to the recipient `to` of its arguments."""
        return NewJob(
            id=job_id,
            queue=self.priority.queue,
            function=function,
            arguments=arguments,
            attempts=self.attempts,
            backoff=self.backoff,
            label=label,
            due=self.due,
            keyed=keyed,
            domain=ascii_domain(str(arguments["to"])),
        )


def due(*, delay: Any = None, at: Any = None) -> str:
    """
    Return when a job is due, as NewJob.due.

    `delay`: seconds or a timedelta; `at`: an aware datetime, of which the past means now. Raises InvalidTime.
    """
    if delay is not None and at is not None:
        raise InvalidTime(f"Both delay={delay!r} and at={at!r} are given. Use one of them.")
    if delay is not None:
        wait = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait < float("inf"):
            raise InvalidTime(f"delay is {delay!r}. Use seconds, 0 or more, or a timedelta.")
        return f"+{wait:.6f}" if wait else ""
    if at is None:
        return ""
    if not isinstance(at, datetime):
        raise InvalidTime(f"at is {at!r}. Use an aware datetime, for example timezone.now() + timedelta(hours=1).")
    if at.utcoffset() is None:
        raise InvalidTime(f"at is {at!r}, which has no time zone. Use an aware datetime: timezone.make_aware(at).")
    return f"{at.timestamp():.6f}"


def valid_attempts(attempts: Any) -> int:
    """Return `attempts` when a job may be tried that often. Raises InvalidAttempts."""
    if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= MAX_ATTEMPTS:
        raise InvalidAttempts(f"attempts is {attempts!r}. Use a whole number from 1 to {MAX_ATTEMPTS}.")
    return attempts


def valid_key(key: Any) -> str:
    """Return `key` when it can be an idempotency key. Raises InvalidIdempotencyKey."""
    if not isinstance(key, str) or not 1 <= len(key) <= 500:
        raise InvalidIdempotencyKey(f"idempotency_key is {key!r}. Use a string of 1 to 500 characters.")
    return key


def valid_language(language: Any) -> str:
    """Return the language of the project that `language` ("de", "de-at") means. Raises InvalidLanguage."""
    try:
        return translation.get_supported_language_variant(language)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise InvalidLanguage(
            f"language is {language!r}. Use one of those in LANGUAGES, for example {translation.get_language()!r}."
        ) from None


def language_still_there(language: Any) -> str | None:
    """Return the language of an older mail; None when the project has given it up since."""
    try:
        return valid_language(language)
    except InvalidLanguage:
        return None
