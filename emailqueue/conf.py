"""The only module that reads Django's settings for the e-mail queue."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import PurePath
from typing import Any, Literal, cast

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from emailqueue.errors import EmailQueueError
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.priority import Priority

RATES = "mails per time, for example '10/s' or '600/m', or '0' for no limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The dict EMAIL_QUEUE, checked. Each field is a key of that dict in lower case."""

    frontend_url: str = "http://localhost:3000"
    """Address that links in mails begin with, without a slash at its end."""

    site_url: str = ""
    """Address of the Django site itself, with which links to unsubscribe begin; empty: FRONTEND_URL."""

    rate_limit: float = 10.0
    """Mails a second over all workers; 0 is no limit. Written as "10/s", "600/m" or "0"."""

    burst: int = 0
    """Mails that may go out at once after a pause; 0 chooses max(1, rate/20)."""

    fair_share: float = 0.1
    """Share of the mails, 0 to 1, that goes to the oldest mail while more urgent mail waits, so that none starves."""

    concurrency: int = 5
    """Mails that one worker sends at the same time."""

    attempts: int = 3
    """Times that a mail is tried in all, unless the call says otherwise."""

    backoff: Backoff = field(default_factory=Backoff)
    """Waits between attempts, unless the call says otherwise."""

    ambiguous: Literal["resend", "hold"] = "resend"
    """A mail that may have gone out before a crash: send it again, or hold it as a dead letter."""

    outbox: Literal["failover", "always", "off"] = "failover"
    """When a job has a row in the database: while Redis is away, from the call to its end, or never."""

    max_age: float = 172_800.0
    """Seconds that a mail may wait since it was due, whatever holds it, before it becomes a dead letter: two days."""

    lease: float = 15.0
    """Seconds after which the jobs of a worker that died go to another one."""

    idle_interval: float = 20.0
    """Seconds that an idle worker waits for a wake-up before it looks by itself."""

    stats_interval: float = 30.0
    """Seconds between two statistics lines of a worker."""

    send_timeout: float = 60.0
    """Seconds that the mail server may take for one step of the dialogue."""

    job_timeout: float = 180.0
    """Seconds that one job may take in all before its connection is broken."""

    keep_sent: float = 500.0
    """Seconds that a sent mail stays visible in RQ's dashboard."""

    mailer: str | None = None
    """What really delivers: dotted path of an e-mail backend, or an alias in MAILERS; None is Django's default."""

    backend_priority: Priority = Priority.NORMAL
    """Priority of what comes through the e-mail backend, unless the message or the backend's options say otherwise."""

    attachment_storage: str = "default"
    """Alias in STORAGES of where large attachments of the e-mail backend are kept until their jobs have ended."""

    bulk_rate: float = 50.0
    """Letters a second that a bulk action of the admin retries or discards; 0 is no limit. Written as "50/s"."""

    stats_token: str = field(default="", repr=False)
    """Who sends it in the header ("Authorization: Bearer …") gets the statistics as JSON; empty: staff alone."""

    heartbeat_file: str = ""
    """File that a worker touches every two seconds, for liveness probes; empty: none. One file for each worker."""

    alerts: str = "managers"
    """What is told of new dead letters: "managers" by mail, "off", or the dotted path of a function that is called."""

    @property
    def tokens_at_once(self) -> int:
        """The burst that is in force."""
        return self.burst or burst_of(self.rate_limit)


@cache
def get_settings() -> Settings:
    """
    Return EMAIL_QUEUE as one frozen value.

    Raises ImproperlyConfigured with a sentence that says what to write instead.
    """
    given = getattr(django_settings, "EMAIL_QUEUE", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"EMAIL_QUEUE is {given!r}. Use a dict, for example {{'RATE_LIMIT': '10/s'}}.")
    known = {entry.name.upper(): entry.name for entry in fields(Settings)}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ImproperlyConfigured(
            f"EMAIL_QUEUE has no key {', '.join(map(repr, unknown))}. {_meant(unknown, known)}"
            f"Its keys are {', '.join(sorted(known))}."
        )
    return Settings(**{known[key]: _readers[key](key, value) for key, value in given.items()})


def _meant(unknown: Iterable[object], known: Iterable[str]) -> str:
    close = [match for key in unknown for match in difflib.get_close_matches(str(key).upper(), known, n=1)]
    return f"Did you mean {', '.join(map(repr, close))}? " if close else ""


def is_debugging() -> bool:
    """Return whether Django runs for a developer."""
    return bool(django_settings.DEBUG)


def knows_time_zones() -> bool:
    """Return whether Django's times are aware."""
    return bool(django_settings.USE_TZ)


def _wrong(key: str, value: Any, use: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"EMAIL_QUEUE[{key!r}] is {value!r}. Use {use}.")


def _url(key: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/]\S*", value):
        raise _wrong(key, value, "an http or https address, for example 'https://example.com'")
    return value.rstrip("/")


def _url_if_any(key: str, value: Any) -> str:
    return "" if value == "" else _url(key, value)


def parse_rate(value: Any) -> float:
    """Return how many mails a second `value` ("10/s", "600/m", "0") means. Raises ValueError for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(?:/([smh]))?", str(value).strip(), re.ASCII)
    if not match or (match[2] is None and float(match[1]) != 0):
        raise ValueError(RATES)
    return float(match[1]) / units[match[2] or "s"]


def burst_of(rate: float) -> int:
    """Return how many mails may go out at once at a limit of `rate` a second, unless it is said."""
    return max(1, int(rate / 20))


def _rate(key: str, value: Any) -> float:
    try:
        return parse_rate(value)
    except ValueError as error:
        raise _wrong(key, value, RATES) from error


def _whole(least: int) -> Callable[[str, Any], int]:
    def read(key: str, value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)) or int(value) < least:
            raise _wrong(key, value, f"a whole number of {least} or more")
        return int(value)

    return read


def _share(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _wrong(key, value, "a share from 0 to 1, for example 0.1 for one mail in ten")
    return float(value)


def _seconds(least: float) -> Callable[[str, Any], float]:
    def read(key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
            raise _wrong(key, value, f"seconds, {least:g} or more")
        return float(value)

    return read


def _backoff(key: str, value: Any) -> Backoff:
    try:
        return Backoff.parse(value)
    except EmailQueueError as error:
        raise _wrong(key, value, f"a Backoff or a dict of its fields ({error})") from error


def _one_of(*words: str) -> Callable[[str, Any], str]:
    def read(key: str, value: Any) -> str:
        if value not in words:
            raise _wrong(key, value, f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}")
        return cast(str, value)

    return read


def _mailer(key: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and value):
        raise _wrong(key, value, "the dotted path of an e-mail backend or an alias in MAILERS")
    return value


def _priority(key: str, value: Any) -> Priority:
    try:
        return Priority.parse(value)
    except EmailQueueError as error:
        raise _wrong(key, value, "'critical', 'high', 'normal' or 'low'") from error


def _alias(key: str, value: Any) -> str:
    if not isinstance(value, str) or value not in django_settings.STORAGES:
        raise _wrong(key, value, f"an alias in STORAGES: {', '.join(map(repr, django_settings.STORAGES))}")
    return value


def _token(key: str, value: Any) -> str:
    if not isinstance(value, str) or (value and len(value) < 16):
        # Without the value: it is a secret.
        raise ImproperlyConfigured(f"EMAIL_QUEUE[{key!r}] is too short. Use 16 random characters or more.")
    return value


def _path(key: str, value: Any) -> str:
    if not isinstance(value, str | PurePath) or (str(value) and not PurePath(value).is_absolute()):
        raise _wrong(key, value, "the absolute path of a file, for example '/run/emailqueue/alive'")
    return str(value)


def _alerts(key: str, value: Any) -> str:
    if value not in ("managers", "off") and not (isinstance(value, str) and "." in value):
        raise _wrong(key, value, "'managers', 'off' or the dotted path of a function")
    return str(value)


_readers: Mapping[str, Callable[[str, Any], Any]] = {
    "FRONTEND_URL": _url,
    "SITE_URL": _url_if_any,
    "RATE_LIMIT": _rate,
    "BURST": _whole(0),
    "FAIR_SHARE": _share,
    "CONCURRENCY": _whole(1),
    "ATTEMPTS": _whole(1),
    "BACKOFF": _backoff,
    "AMBIGUOUS": _one_of("resend", "hold"),
    "OUTBOX": _one_of("failover", "always", "off"),
    "MAX_AGE": _seconds(1),
    "LEASE": _seconds(1),
    "IDLE_INTERVAL": _seconds(0.1),
    "STATS_INTERVAL": _seconds(0.1),
    "SEND_TIMEOUT": _seconds(1),
    "JOB_TIMEOUT": _seconds(1),
    "KEEP_SENT": _seconds(1),
    "MAILER": _mailer,
    "BACKEND_PRIORITY": _priority,
    "ATTACHMENT_STORAGE": _alias,
    "BULK_RATE": _rate,
    "STATS_TOKEN": _token,
    "HEARTBEAT_FILE": _path,
    "ALERTS": _alerts,
}


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "EMAIL_QUEUE":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="emailqueue.conf")
