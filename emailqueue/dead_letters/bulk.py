"""How a worker does a bulk action: a step a second, of a bounded number of letters, and nothing that grows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, router
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext

from emailqueue.conf import get_settings
from emailqueue.dead_letters import actions as verbs
from emailqueue.dead_letters.counting import table_size
from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.preview import is_stale
from emailqueue.dead_letters.selection import Selection, fits
from emailqueue.errors import EmailQueueError
from emailqueue.models import DeadLetter, Status
from emailqueue.models.bulk_action import BulkAction

STEP = 1.0
"""Seconds from the begin of one step to that of the next."""
PATIENCE = 60.0
"""Seconds after which the step of a worker that died is taken again. Letters that it has done are not open any more."""
WINDOW = 1000
"""Letters that are looked at together: their ids are all that is in memory."""
LOOK = 10
"""Letters between two looks at whether someone has pressed Stop."""


def start(verb: str, selection: Selection, *, user: Any, reason: str = "", stale_too: bool = False) -> BulkAction:
    """Begin a verb for all open letters that `selection` selects now; those that die later are not of it."""
    now = timezone.now()
    bulk: BulkAction = BulkAction.objects.create(
        verb=verb,
        selection=selection.up_to(now).as_json(),
        reason=reason,
        stale_too=stale_too,
        user_pk=str(user.pk),
        user_name=user.get_username(),
        table_size=table_size(router.db_for_read(DeadLetter)),
        created_at=now,
        next_step_at=now,
    )
    told = "; ".join(f"{label}: {value}" for label, value in selection.words()) or gettext("all")
    message = gettext("Bulk action %(number)s started: %(verb)s (%(filter)s)")
    numbers = {"number": bulk.pk, "verb": BulkAction.Verb(bulk.verb).label, "filter": told}
    verbs.record(user.pk, message % numbers, about=gettext("all that match a filter"))
    return bulk


def work() -> bool:
    """Take one step of the bulk action whose turn it is, if any; return whether one is still active."""
    bulk = BulkAction.objects.active().order_by("next_step_at").first()
    if bulk is None:
        return False
    now = timezone.now()
    if bulk.next_step_at <= now:
        mine = BulkAction.objects.active().filter(pk=bulk.pk, next_step_at=bulk.next_step_at)
        # One worker changes the row, and the step is its own.
        if mine.update(state=BulkAction.State.RUNNING, next_step_at=now + timedelta(seconds=PATIENCE)):
            _Step(bulk).run()
            BulkAction.objects.filter(pk=bulk.pk).update(next_step_at=now + timedelta(seconds=STEP))
    return True


@dataclass(slots=True)
class _Step:
    """One step: at most a second's letters, and about a second's time."""

    bulk: BulkAction
    scanned: int = 0
    done: int = 0
    refused: int = 0
    error: str = ""
    until: float = field(default_factory=lambda: time.monotonic() + STEP)

    def run(self) -> None:
        """Do it, and write how far it came."""
        users = get_user_model()._default_manager  # noqa: SLF001 - Django's name for whatever a user model calls it
        user = users.filter(pk=self.bulk.user_pk).first()
        if user is None or not may(user, self.bulk.verb):
            self._end(BulkAction.State.FAILED, error=gettext("Who started it may not do this any more."))
            return
        left = max(1, int(get_settings().bulk_rate or WINDOW))
        ended = False
        while left > 0 and not ended and time.monotonic() < self.until and self._still_wanted():
            window = self._window()
            ended = len(window) < WINDOW
            for pk, wanted in window:
                if wanted and (left == 0 or time.monotonic() > self.until or self._unwanted(left)):
                    ended = False
                    break
                self.bulk.cursor = pk
                self.scanned += 1
                if wanted:
                    left -= 1
                    self._do(pk)
            self._write()
        if ended:
            self._end(BulkAction.State.DONE)

    def _window(self) -> list[tuple[str, bool]]:
        """Return the next ids in their order, each with whether it is selected; an index leads from one to the next."""
        using = router.db_for_read(DeadLetter)
        selection = Selection.of_json(self.bulk.selection)
        letters = DeadLetter.objects.using(using).filter(pk__gt=self.bulk.cursor).order_by("pk")
        # As a value: in a WHERE, the status would be sought by its own index, again for each window.
        condition = selection.condition() & Q(status=Status.OPEN)
        rows = letters.annotate(wanted=fits(condition)).values_list("pk", "wanted")[:WINDOW]
        return [(pk, bool(wanted)) for pk, wanted in rows]

    def _do(self, pk: str) -> None:
        try:
            letter = DeadLetter.objects.get(pk=pk)
            if self.bulk.verb == BulkAction.Verb.DISCARD:
                verbs.discard(letter, user_pk=self.bulk.user_pk, reason=self.bulk.reason)
            elif not self.bulk.stale_too and is_stale(letter):
                self._refuse(gettext("Dead letter %(id)s is out of date.") % {"id": pk})
                return
            else:
                verbs.retry(letter, user_pk=self.bulk.user_pk)
        except DeadLetter.DoesNotExist:
            return
        except (EmailQueueError, DataError, IntegrityError, TypeError, ValueError) as error:
            self._refuse(str(error))
        else:
            self.done += 1

    def _refuse(self, error: str) -> None:
        self.refused += 1
        self.error = error

    def _unwanted(self, left: int) -> bool:
        return left % LOOK == 0 and not self._still_wanted()

    def _still_wanted(self) -> bool:
        return BulkAction.objects.active().filter(pk=self.bulk.pk).exists()

    def _write(self) -> None:
        BulkAction.objects.filter(pk=self.bulk.pk).update(
            cursor=self.bulk.cursor,
            scanned=F("scanned") + self.scanned,
            done=F("done") + self.done,
            refused=F("refused") + self.refused,
            **({"last_error": self.error} if self.error else {}),
        )
        self.scanned = self.done = self.refused = 0

    def _end(self, state: BulkAction.State, *, error: str = "") -> None:
        fields: dict[str, Any] = {"last_error": error} if error else {}
        BulkAction.objects.active().filter(pk=self.bulk.pk).update(state=state, finished_at=timezone.now(), **fields)
