"""
Who hears of new dead letters, and how often.

The first dead letter of a group (type and reason) is reported at once; what follows is reported together, with counts,
at most once in a quarter of an hour over all workers. A group that has been quiet for an hour is a first one again.
What waits to be reported is counted in Redis, so that it survives a worker; a worker that is killed while it reports
loses that one alert, never a dead letter.
"""

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
"""Seconds after which a group that was quiet is a first one again."""
TIMEOUT = 10
"""Seconds that the mail server may take: meanwhile the housekeeping waits."""
SEPARATOR = "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What an alert reports: how many dead letters of which group came since the last one."""

    counts: Mapping[tuple[str, str], int]
    """By type (label) and reason."""

    first: bool
    """Whether a group among them is new."""


def count(connection: Redis, dead_letters: Iterable[DeadLetter]) -> None:
    """Count new dead letters, for send_due() to report."""
    groups = Counter(f"{letter.label}{SEPARATOR}{letter.reason}" for letter in dead_letters)
    if groups and _is_on():
        _add(connection, groups)


def send_due(connection: Redis) -> bool:
    """Send one alert if one is due; return whether it was sent."""
    groups: Any = connection.hkeys(PENDING) if _is_on() else []
    pending = [group.decode("utf-8", "replace") for group in groups]
    if not pending:
        return False
    first = [group for group in pending if _is_first(connection, group)]
    # One worker sets the key, and the digest is its own.
    if not first and not connection.set(QUIET, 1, nx=True, ex=EVERY):
        return False
    connection.set(QUIET, 1, ex=EVERY)
    taken = _take(connection, pending)
    return bool(taken) and _send(connection, taken, first=bool(first))


def _send(connection: Redis, taken: Mapping[str, int], *, first: bool) -> bool:
    pairs = {group.partition(SEPARATOR)[::2]: number for group, number in taken.items()}
    try:
        handler()(Digest(counts=pairs, first=first))
    except Exception:  # a project's handler, or the mail server: neither must stop the housekeeping
        logger.exception("alert failed, sent again later")
        _add(connection, taken)
        return False
    return True


def mail_managers(digest: Digest) -> None:
    """
    Mail the digest to MANAGERS.

    Straight to the mail server, not through the queue: an alert that waits behind what it is about is none.
    """
    to = [manager if isinstance(manager, str) else manager[1] for manager in django_settings.MANAGERS]
    total = sum(digest.counts.values())
    subject = ngettext("%(count)d dead letter", "%(count)d dead letters", total) % {"count": total}
    message = EmailMessage(
        f"{django_settings.EMAIL_SUBJECT_PREFIX}{subject}",
        _body(digest),
        django_settings.SERVER_EMAIL,
        to,
        headers={"Auto-Submitted": "auto-generated"},
    )
    backend = new_backend(get_settings())
    if hasattr(backend, "timeout"):
        backend.timeout = TIMEOUT
    backend.send_messages([message])


def _body(digest: Digest) -> str:
    lines = [f"{number:>7}  {label or '-'}: {reason}" for (label, reason), number in sorted(digest.counts.items())]
    end = gettext("See them in the admin, under E-mail queue. The next digest comes in 15 minutes at the earliest.")
    return "\n".join([gettext("New dead letters, by type and reason:"), "", *lines, "", end])


def handler() -> Callable[[Digest], object]:
    """Return what is called with each digest. Raises ImportError for a path that leads nowhere."""
    setting = get_settings().alerts
    found: Callable[[Digest], object] = mail_managers if setting in ("managers", "off") else import_string(setting)
    return found


def _is_on() -> bool:
    setting = get_settings().alerts
    return bool(django_settings.MANAGERS) if setting == "managers" else setting != "off"


def _add(connection: Redis, groups: Mapping[str, int]) -> None:
    with connection.pipeline() as pipeline:
        for group, number in groups.items():
            pipeline.hincrby(PENDING, group, number)
        pipeline.execute()


def _is_first(connection: Redis, group: str) -> bool:
    """Return whether the group is new, and remember it from now on."""
    new = connection.set(KNOWN + group, 1, nx=True, ex=FORGET)
    if not new:
        connection.expire(KNOWN + group, FORGET)
    return bool(new)


def _take(connection: Redis, groups: Sequence[str]) -> dict[str, int]:
    """Take the counts out, all in one transaction, so that no other worker reports them, too."""
    with connection.pipeline() as pipeline:
        pipeline.hmget(PENDING, groups)
        pipeline.hdel(PENDING, *groups)
        counts, _deleted = pipeline.execute()
    return {group: int(number) for group, number in zip(groups, counts, strict=True) if number}
