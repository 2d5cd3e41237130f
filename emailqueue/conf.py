"""The only module that reads Django's settings for the e-mail queue."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from functools import cache
from math import inf, isfinite
from pathlib import PurePath
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from emailqueue.errors import EmailQueueError
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.priority import QUEUES, Priority

RATES = "mails per time, for example '10/s' or '600/m', or '0' for no limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The dict EMAIL_QUEUE, checked.

    Each field is a key of that dict in lower case; beside its type stands the reader of what a project has written.
    """

    frontend_url: Annotated[str, _url] = "http://localhost:3000"
    """Address that links in mails begin with, without a slash at its end."""

    site_url: Annotated[str, _url_if_any] = ""
    """Address of the Django site itself, with which links to unsubscribe begin; empty: FRONTEND_URL."""

    rate_limit: Annotated[float, parse_rate] = 10.0
    """Mails a second over all workers; 0 is no limit. Written as "10/s", "600/m" or "0"."""

    burst: Annotated[int, _whole(0)] = 0
    """Mails that may go out at once after a pause; 0 chooses max(1, rate/20)."""

    fair_share: Annotated[float, _share] = 0.1
    """Share of the mails, 0 to 1, that goes to the oldest mail while more urgent mail waits, so that none starves."""

    concurrency: Annotated[int, _whole(1)] = 5
    """Mails that one worker sends at the same time."""

    attempts: Annotated[int, _whole(1)] = 3
    """Attempts at a mail in all, unless the call says otherwise."""

    backoff: Annotated[Backoff, _backoff] = field(default_factory=Backoff)
    """Waits between attempts, unless the call says otherwise."""

    ambiguous: Literal["resend", "hold"] = "resend"
    """A mail that may have gone out before a crash: send it again, or hold it as a dead letter."""

    outbox: Literal["failover", "always", "off"] = "failover"
    """When a job has a row in the database: while Redis is away, from the call to its end, or never."""

    max_age: Annotated[float, _seconds(1)] = 172_800.0
    """Seconds that a mail may wait since it was due, whatever holds it, before it becomes a dead letter: two days."""

    lease: Annotated[float, _seconds(1)] = 15.0
    """Seconds after which the jobs of a worker that died go to another one."""

    idle_interval: Annotated[float, _seconds(0.1)] = 20.0
    """Seconds that an idle worker waits for a wake-up before it looks by itself."""

    stats_interval: Annotated[float, _seconds(0.1)] = 30.0
    """Seconds between two statistics lines of a worker."""

    send_timeout: Annotated[float, _seconds(1)] = 60.0
    """Seconds that the mail server may take for one step of the dialogue."""

    job_timeout: Annotated[float, _seconds(1)] = 180.0
    """Seconds that one job may take in all before its connection is broken."""

    keep_sent: Annotated[float, _seconds(1)] = 500.0
    """Seconds that a sent mail stays visible in RQ's dashboard."""

    mailer: Annotated[str | None, _mailer] = None
    """What really delivers: dotted path of an e-mail backend, or an alias in MAILERS; None is Django's default."""

    backend_priority: Annotated[Priority, _priority] = Priority.NORMAL
    """Priority of what comes through the e-mail backend, unless the message or the backend's options say otherwise."""

    attachment_storage: Annotated[str, _storage] = "default"
    """Alias in STORAGES of where large attachments of the e-mail backend are kept until their jobs have ended."""

    bulk_rate: Annotated[float, parse_rate] = 50.0
    """Dead letters a second that a bulk action of the admin retries or discards; 0 is no limit. Written as "50/s"."""

    stats_token: Annotated[str, _token] = field(default="", repr=False)
    """Who sends it in the header ("Authorization: Bearer …") gets the statistics as JSON; empty: staff alone."""

    heartbeat_file: Annotated[str, _path] = ""
    """File that a worker touches every two seconds, for liveness probes; empty: none. One file for each worker."""

    alerts: Annotated[str, _alerts] = "managers"
    """What reports new dead letters: "managers" by mail, "off", or the dotted path of a function that is called."""

    event_trail: Annotated[int, _whole(0, 10**9)] = 24 * 60 * 60
    """Seconds that Redis keeps the trail of an event: who took it in, and what was queued for it; 0 keeps none."""

    queue_prefix: Annotated[str, _prefix] = ""
    """What the names of our five queues begin with in RQ, as in rq_queues(prefix=...): "mail-" makes it "mail-high"."""

    @property
    def tokens_at_once(self) -> int:
        """The burst that is in force."""
        return self.burst or burst_of(self.rate_limit)

    def rq_name(self, queue: str) -> str:
        """Return what RQ calls one of our queues: in RQ_QUEUES, after rqworker and in its keys."""
        return f"{self.queue_prefix}{queue}"

    @property
    def by_rq_name(self) -> Mapping[str, str]:
        """Our queues by the names that RQ has for them."""
        return {self.rq_name(queue): queue for queue in QUEUES}


@cache
def get_settings() -> Settings:
    """
    Return EMAIL_QUEUE as one frozen value.

    Raises ImproperlyConfigured with a sentence that says what to write instead.
    """
    given = getattr(django_settings, "EMAIL_QUEUE", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"EMAIL_QUEUE is {given!r}. Use a dict, for example {{'RATE_LIMIT': '10/s'}}.")
    known = {entry.name.upper(): entry for entry in fields(Settings)}
    if unknown := [key for key in given if key not in known]:
        raise ImproperlyConfigured(
            f"EMAIL_QUEUE has no key {', '.join(map(repr, unknown))}. {_meant(unknown, known)}"
            f"Its keys are {', '.join(sorted(known))}."
        )
    return Settings(**{known[key].name: _read(known[key], value) for key, value in given.items()})


def _read(entry: Field[Any], value: Any) -> Any:
    hint = get_type_hints(Settings, include_extras=True)[entry.name]
    read = hint.__metadata__[0] if get_origin(hint) is Annotated else _one_of(get_args(hint))
    try:
        return read(value)
    except ValueError as error:
        shown = repr(value) if entry.repr else "no good"  # a secret stays one
        raise ImproperlyConfigured(f"EMAIL_QUEUE[{entry.name.upper()!r}] is {shown}. Use {error}.") from error


def _meant(unknown: Iterable[object], known: Iterable[str]) -> str:
    close = [match for key in unknown for match in difflib.get_close_matches(str(key).upper(), known, n=1)]
    return f"Did you mean {', '.join(map(repr, close))}? " if close else ""


def is_debugging() -> bool:
    """Return whether Django runs for a developer."""
    return bool(django_settings.DEBUG)


def knows_time_zones() -> bool:
    """Return whether Django's times are aware."""
    return bool(django_settings.USE_TZ)


def parse_rate(value: Any) -> float:
    """Return how many mails a second `value` ("10/s", "600/m", "0") means. Raises ValueError for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(?:/([smh]))?", str(value).strip(), re.ASCII)
    if not match or (match[2] is None and float(match[1]) != 0):
        raise ValueError(RATES)
    return float(match[1]) / units[match[2] or "s"]


def burst_of(rate: float) -> int:
    """Return how many mails may go out at once at a limit of `rate` a second, unless a burst is set."""
    return max(1, int(rate / 20))


# The readers of values: each returns what its field holds, or raises ValueError with what to use instead.


def _require(fits: object, use: str) -> None:
    if not fits:
        raise ValueError(use)


def _one_of(words: Sequence[str]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        _require(value in words, f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}")
        return value

    return read


def _whole(least: int, most: float = inf) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        fits = re.fullmatch(r"\d+", str(value)) and least <= int(value) <= most
        _require(fits, f"a whole number of {least} or more" + (f", {most:,} at most" if most < inf else ""))
        return int(value)

    return read


def _number(least: float, most: float, use: str) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        _require(is_number and isfinite(value) and least <= value <= most, use)
        return float(value)

    return read


def _seconds(least: float) -> Callable[[Any], float]:
    return _number(least, inf, f"seconds, {least:g} or more")


_share = _number(0, 1, "a share from 0 to 1, for example 0.1 for one mail in ten")


def _url(value: Any) -> str:
    fits = isinstance(value, str) and re.fullmatch(r"https?://[^\s/]\S*", value)
    _require(fits, "an http or https address, for example 'https://example.com'")
    return str(value).rstrip("/")


def _url_if_any(value: Any) -> str:
    return "" if value == "" else _url(value)


def _backoff(value: Any) -> Backoff:
    try:
        return Backoff.parse(value)
    except EmailQueueError as error:
        raise ValueError(f"a Backoff or a dict of its fields ({error})") from error


def _priority(value: Any) -> Priority:
    try:
        return Priority.parse(value)
    except EmailQueueError as error:
        raise ValueError("'critical', 'high', 'normal' or 'low'") from error


def _mailer(value: Any) -> str | None:
    fits = value is None or (isinstance(value, str) and value)
    _require(fits, "the dotted path of an e-mail backend or an alias in MAILERS")
    return cast(str | None, value)


def _storage(value: Any) -> str:
    aliases = django_settings.STORAGES
    _require(isinstance(value, str) and value in aliases, f"an alias in STORAGES: {', '.join(map(repr, aliases))}")
    return str(value)


def _path(value: Any) -> str:
    fits = isinstance(value, str | PurePath) and (not str(value) or PurePath(value).is_absolute())
    _require(fits, "the absolute path of a file, for example '/run/emailqueue/alive'")
    return str(value)


def _text(pattern: str, use: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        _require(isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII | re.DOTALL), use)
        return str(value)

    return read


_token = _text(r"|.{16,}", "16 random characters or more")
_prefix = _text(r"[\w.-]*", "letters, digits, '.', '_' and '-', for example 'mail-'")
_alerts = _text(r"managers|off|.*\..*", "'managers', 'off' or the dotted path of a function")


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "EMAIL_QUEUE":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="emailqueue.conf")
