"""How a worker does a bulk action: a step a second, each for a bounded number of dead letters."""

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, router
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext

from emailqueue.conf import get_settings
from emailqueue.dead_letters.actions import ACTIONS, may, record
from emailqueue.dead_letters.counting import table_size
from emailqueue.dead_letters.selection import Selection, fits
from emailqueue.errors import EmailQueueError
from emailqueue.models import BulkAction, DeadLetter, Status

STEP = 1.0
"""Seconds from the start of one step to that of the next."""
PATIENCE = 60.0
"""Seconds after which the step of a worker that died is repeated. What it has changed is not open any more."""
WINDOW = 1000
"""Rows that are read together: their ids are all that is in memory."""
LOOK = 10
"""Changes between two looks at whether someone has pressed Stop."""


def start(action: str, selection: Selection, *, user: Any, **options: Any) -> BulkAction:
    """Start an action, with its options, on all open dead letters that `selection` selects now, not on later ones."""
    now = timezone.now()
    bulk: BulkAction = BulkAction.objects.create(
        action=action,
        selection=replace(selection, until=now.isoformat()).as_json(),
        options=options,
        user_pk=str(user.pk),
        user_name=user.get_username(),
        table_size=table_size(router.db_for_read(DeadLetter)),
        created_at=now,
        next_step_at=now,
    )
    message = gettext("Bulk action %(number)s started: %(action)s (%(filter)s)")
    values = {"number": bulk.pk, "action": bulk.get_action_display(), "filter": str(selection) or gettext("all")}
    record(user.pk, message % values, about=gettext("all that match a filter"))
    return bulk


def work() -> bool:
    """Take one step of the bulk action whose turn it is, if any; return whether one is still active."""
    bulk = BulkAction.objects.active().order_by("next_step_at").first()
    if bulk is None:
        return False
    now = timezone.now()
    mine = BulkAction.objects.active().filter(pk=bulk.pk, next_step_at=bulk.next_step_at)
    running = {"state": BulkAction.State.RUNNING, "next_step_at": now + timedelta(seconds=PATIENCE)}
    # One worker changes the row, and the step is its own.
    if bulk.next_step_at <= now and mine.update(**running):
        _Step(bulk).run()
        BulkAction.objects.filter(pk=bulk.pk).update(next_step_at=now + timedelta(seconds=STEP))
    return True


@dataclass(slots=True)
class _Step:
    """One step: at most a second's dead letters, and about a second's time."""

    bulk: BulkAction
    left: int = field(default_factory=lambda: max(1, int(get_settings().bulk_rate or WINDOW)))
    until: float = field(default_factory=lambda: time.monotonic() + STEP)

    def run(self) -> None:
        if not self._permitted():
            self.bulk.last_error = gettext("The user who started it no longer has the permission.")
            self._end(BulkAction.State.FAILED)
            return
        ended = False
        while not ended and self._may_go_on():
            ended = self._go_through(self._window())
            self.bulk.save(update_fields=["cursor", "scanned", "done", "refused", "last_error"])
        if ended:
            self._end(BulkAction.State.DONE)

    def _permitted(self) -> bool:
        users = get_user_model()._default_manager  # noqa: SLF001 - Django's name for whatever a user model calls it
        user = users.filter(pk=self.bulk.user_pk).first()
        return user is not None and may(user, self.bulk.action)

    def _may_go_on(self) -> bool:
        """Return whether there is time, and nobody has pressed Stop."""
        return self.left > 0 and time.monotonic() < self.until and (self.left % LOOK > 0 or self._active().exists())

    def _window(self) -> list[tuple[str, bool]]:
        """Return the next ids in their order, each with whether it is selected; an index leads from one to the next."""
        using = router.db_for_read(DeadLetter)
        letters = DeadLetter.objects.using(using).filter(pk__gt=self.bulk.cursor).order_by("pk")
        # As a value: in a WHERE, the status would be sought by its own index, again for each window.
        condition = Selection(**self.bulk.selection).condition() & Q(status=Status.OPEN)
        return list(letters.annotate(selected=fits(condition)).values_list("pk", "selected")[:WINDOW])

    def _go_through(self, window: list[tuple[str, bool]]) -> bool:
        """Change what is selected; return whether this was the end of the table."""
        for pk, selected in window:
            if selected:
                if not self._may_go_on():
                    return False
                self._change(pk)
            self.bulk.cursor = pk
            self.bulk.scanned += 1
        return len(window) < WINDOW

    def _change(self, pk: str) -> None:
        self.left -= 1
        try:
            letter = DeadLetter.objects.get(pk=pk)
            ACTIONS[self.bulk.action](letter, user_pk=self.bulk.user_pk, **self.bulk.options)
            self.bulk.done += 1
        except (EmailQueueError, DeadLetter.DoesNotExist, DataError, IntegrityError, TypeError, ValueError) as error:
            self.bulk.refused += 1
            self.bulk.last_error = str(error)

    def _active(self) -> Any:
        return BulkAction.objects.active().filter(pk=self.bulk.pk)

    def _end(self, state: BulkAction.State) -> None:
        self._active().update(state=state, finished_at=timezone.now(), last_error=self.bulk.last_error)
