"""
Who is told of new dead letters, and how often.

The first letter of a kind (type and reason) is told at once; what follows is told together, with counts, at most
once in a quarter of an hour over all workers. A kind that has been quiet for an hour is a first one again. What
waits to be told is counted in Redis, so that it survives a worker; a worker that is killed while it tells loses
that one alert, never a letter.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings as django_settings
from django.core.mail import EmailMessage
from django.utils.module_loading import import_string
from django.utils.translation import gettext, ngettext
from redis import Redis

from emailqueue.conf import get_settings
from emailqueue.delivery.mailers import new_backend
from emailqueue.models import DeadLetter

logger = logging.getLogger(__name__)

PENDING = "emailqueue:alerts"
QUIET = "emailqueue:alerts:quiet"
KNOWN = "emailqueue:alerts:known:"
EVERY = 15 * 60
"""Seconds between two digests."""
FORGET = 60 * 60
"""Seconds after which a kind that was quiet is a first one again."""
TIMEOUT = 10
"""Seconds that the mail server may take: meanwhile the housekeeping waits."""
SEPARATOR = "\n"
NAMED = ("managers", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What an alert tells: how many letters died of which kind since the last one."""

    counts: Mapping[tuple[str, str], int]
    """By type (label) and reason."""

    first: bool
    """Whether a kind among them is new."""


def count_deaths(connection: Redis, letters: Iterable[DeadLetter]) -> None:
    """Count new letters, to be told by tell()."""
    kinds = Counter(f"{letter.label}{SEPARATOR}{letter.reason}" for letter in letters)
    if kinds and _wanted():
        with connection.pipeline() as pipeline:
            for kind, count in kinds.items():
                pipeline.hincrby(PENDING, kind, count)
            pipeline.execute()


def tell(connection: Redis) -> bool:
    """Send one alert if one is due; return whether it was sent."""
    if not _wanted() or not (pending := _pending(connection)):
        return False
    first = [kind for kind in pending if _is_first(connection, kind)]
    # One worker sets the key, and the digest is its own.
    if not first and not connection.set(QUIET, 1, nx=True, ex=EVERY):
        return False
    connection.set(QUIET, 1, ex=EVERY)
    taken = _take(connection, pending)
    if not taken:
        return False
    counts = {_parted(kind): count for kind, count in taken.items()}
    try:
        handler()(Digest(counts=counts, first=bool(first)))
    except Exception:  # a project's handler, or the mail server: neither must stop the housekeeping
        logger.exception("alert failed, told again later")
        for kind, count in taken.items():
            connection.hincrby(PENDING, kind, count)
        return False
    return True


def mail_managers(digest: Digest) -> None:
    """
    Mail the digest to MANAGERS; nothing when there are none.

    Straight to the mail server, not through the queue: an alert that waits behind what it is about is none.
    """
    to = [manager if isinstance(manager, str) else manager[1] for manager in django_settings.MANAGERS]
    if not to:
        return
    total = sum(digest.counts.values())
    subject = ngettext("%(count)d dead letter", "%(count)d dead letters", total) % {"count": total}
    lines = [f"{count:>7}  {label or '-'}: {reason}" for (label, reason), count in sorted(digest.counts.items())]
    body = "\n".join(
        [
            gettext("New dead letters, by type and reason:"),
            "",
            *lines,
            "",
            gettext("See them in the admin, under E-mail queue. The next digest comes in 15 minutes at the earliest."),
        ]
    )
    message = EmailMessage(
        f"{django_settings.EMAIL_SUBJECT_PREFIX}{subject}",
        body,
        django_settings.SERVER_EMAIL,
        to,
        headers={"Auto-Submitted": "auto-generated"},
    )
    backend = new_backend(get_settings())
    if hasattr(backend, "timeout"):
        backend.timeout = TIMEOUT
    backend.send_messages([message])


def handler() -> Callable[[Digest], object]:
    """Return what is called with each digest. Raises ImportError for a path that leads nowhere."""
    told = get_settings().alerts
    found: Callable[[Digest], object] = mail_managers if told in NAMED else import_string(told)
    return found


def _wanted() -> bool:
    told = get_settings().alerts
    return bool(django_settings.MANAGERS) if told == "managers" else told != "off"


def _pending(connection: Redis) -> list[str]:
    kinds: Any = connection.hkeys(PENDING)
    return [kind.decode("utf-8", "replace") for kind in kinds]


def _is_first(connection: Redis, kind: str) -> bool:
    """Return whether the kind is new, and remember it from now on."""
    new = connection.set(KNOWN + kind, 1, nx=True, ex=FORGET)
    if not new:
        connection.expire(KNOWN + kind, FORGET)
    return bool(new)


def _take(connection: Redis, kinds: Sequence[str]) -> dict[str, int]:
    """Take the counts out, all in one transaction, so that no other worker tells them, too."""
    with connection.pipeline() as pipeline:
        pipeline.hmget(PENDING, kinds)
        pipeline.hdel(PENDING, *kinds)
        counts, _deleted = pipeline.execute()
    return {kind: int(count) for kind, count in zip(kinds, counts, strict=True) if count}


def _parted(kind: str) -> tuple[str, str]:
    label, _separator, reason = kind.partition(SEPARATOR)
    return label, reason
