"""How long dead letters are kept after someone has dealt with them."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import router, transaction
from django.utils import timezone

from emailqueue.errors import InvalidAge
from emailqueue.models import Attempt, DeadLetter, Status
from emailqueue.models.bulk_action import BulkAction

KEEP = timedelta(days=90)
BATCH = 500
"""Dead letters that one transaction deletes."""
CLOSED = (Status.SENT, Status.FAILED_AGAIN, Status.DISCARDED)
UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How much was deleted."""

    dead_letters: int
    attempts: int
    bulk_actions: int


def age(text: str) -> timedelta:
    """Read an age such as 90d, 12h or 2w. Raises InvalidAge."""
    match = re.fullmatch(r"(\d{1,5})([dhmsw])", text.strip())
    if not match:
        raise InvalidAge(f"{text!r} is not an age. Use a number and d, h, m, s or w, for example 90d.")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def purge(*, older_than: timedelta = KEEP, now: datetime | None = None) -> Purged:
    """
    Delete the dead letters that were closed longer than `older_than` ago, with their attempts, and old bulk actions.

    Those that are open or being retried stay, whatever their age. Each batch has a transaction of its own.
    """
    before = (now or timezone.now()) - older_than
    using = router.db_for_write(DeadLetter)
    old = DeadLetter.objects.using(using).filter(status__in=CLOSED, closed_at__lt=before).order_by("closed_at")
    letters = attempts = 0
    while batch := list(old.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic(using=using):
            attempts += Attempt.objects.using(using).filter(dead_letter__in=batch).delete()[0]
            letters += DeadLetter.objects.using(using).filter(pk__in=batch).delete()[0]
    ended = BulkAction.objects.using(using).filter(finished_at__lt=before)
    return Purged(dead_letters=letters, attempts=attempts, bulk_actions=ended.delete()[0])
