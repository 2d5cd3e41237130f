"""The table in which jobs wait while Redis is away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from emailqueue.backoff import Backoff
from emailqueue.jobs import NewJob


class OutboxQuerySet(models.QuerySet["OutboxRow"]):
    """Rows of the outbox."""

    def keep(self, jobs: Sequence[NewJob]) -> None:
        """Store `jobs` in their order. A relative due time becomes an absolute one, by this machine's clock."""
        self.bulk_create([OutboxRow(job_id=job.id, job=_as_json(job)) for job in jobs], batch_size=500)


class OutboxRow(models.Model):
    """One job that has not reached Redis yet."""

    job_id = models.CharField(_("job id"), max_length=32)
    job = models.JSONField(_("job"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("outbox row")
        verbose_name_plural = _("outbox")

    def __str__(self) -> str:
        return self.job_id

    def new_job(self) -> NewJob:
        """Return the job as it was submitted."""
        return NewJob(**{**self.job, "backoff": Backoff.parse(self.job["backoff"])})


def _as_json(job: NewJob) -> dict[str, Any]:
    fields = asdict(job)
    if job.due.startswith("+"):
        fields["due"] = f"{time.time() + float(job.due):.6f}"
    return fields
