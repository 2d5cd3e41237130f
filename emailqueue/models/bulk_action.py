"""The table of what staff do to all dead letters that match a filter; a worker does it, a few at a time."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class BulkQuerySet(models.QuerySet["BulkAction"]):
    """Bulk actions."""

    def active(self) -> BulkQuerySet:
        """Return those that still have something to do."""
        return self.filter(state__in=(BulkAction.State.WAITING, BulkAction.State.RUNNING))


class BulkAction(models.Model):
    """One action for all open dead letters of a selection, in the order of their ids."""

    class Action(models.TextChoices):
        """What is done to each dead letter; by the name of its permission."""

        RETRY = "retry", _("retry")
        DISCARD = "discard", _("discard")

    class State(models.TextChoices):
        """How far it is. The last three are final."""

        WAITING = "waiting", _("waits for a worker")
        RUNNING = "running", _("running")
        STOPPED = "stopped", _("stopped")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    action = models.CharField(_("action"), max_length=20, choices=Action.choices)
    selection = models.JSONField(_("filter"), default=dict)
    options = models.JSONField(_("options"), default=dict)
    """What the action takes beside the dead letter."""
    user_pk = models.CharField(_("user id"), max_length=100, blank=True)
    """No foreign key: a project may keep its users elsewhere, and a worker may need none."""
    user_name = models.CharField(_("by"), max_length=200, blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.WAITING)
    cursor = models.CharField(_("last dead letter read"), max_length=64, blank=True)
    table_size = models.BigIntegerField(_("approximate size of the table at the start"), default=0)
    scanned = models.BigIntegerField(_("read"), default=0)
    done = models.BigIntegerField(_("changed"), default=0)
    refused = models.BigIntegerField(_("left unchanged"), default=0)
    last_error = models.TextField(_("last error"), blank=True)
    created_at = models.DateTimeField(_("started at"), default=timezone.now)
    next_step_at = models.DateTimeField(_("next step at"), default=timezone.now)
    """No worker takes a step before; this bounds the speed, and keeps two workers from the same step."""
    finished_at = models.DateTimeField(_("ended at"), null=True)

    objects = BulkQuerySet.as_manager()

    class Meta:
        verbose_name = _("bulk action")
        verbose_name_plural = _("bulk actions")
        default_permissions = ()
        indexes = (models.Index(fields=["state", "next_step_at"], name="emailqueue_bulk_state"),)

    def __str__(self) -> str:
        return f"{self.get_action_display()} · {self.get_state_display()}"

    @property
    def active(self) -> bool:
        """Whether there is something left to do."""
        return self.state in (self.State.WAITING, self.State.RUNNING)

    @property
    def progress(self) -> int:
        """Per cent of the table that was read."""
        if self.state == self.State.DONE:
            return 100
        return min(99, 100 * self.scanned // max(1, self.table_size))

    def stop(self) -> bool:
        """Stop it before its next dead letter; False when it had ended already."""
        fields: dict[str, Any] = {"state": self.State.STOPPED, "finished_at": timezone.now()}
        stopped = bool(BulkAction.objects.active().filter(pk=self.pk).update(**fields))
        self.refresh_from_db()
        return stopped
