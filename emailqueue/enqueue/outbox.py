"""The table in which jobs wait while Redis is away, or until they have ended."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.job import NewJob


class OutboxQuerySet(models.QuerySet["OutboxRow"]):
    """Rows of the outbox."""

    def keep(self, jobs: Sequence[NewJob], *, pushed: bool = True) -> None:
        """
        Store `jobs` in their order; those that have a row keep it.

        `pushed`: see OutboxRow. A relative due time becomes an absolute one, by this machine's clock.
        """
        rows = [OutboxRow(job_id=job.id, job=_as_json(job), pushed=pushed) for job in jobs]
        self.bulk_create(rows, batch_size=500, ignore_conflicts=True)

    def forget(self, job_ids: Sequence[str]) -> None:
        """Delete the rows of jobs that have ended."""
        for start in range(0, len(job_ids), 500):
            self.filter(job_id__in=job_ids[start : start + 500]).delete()

    def reschedule(self, job_id: str, due: str) -> None:
        """Change when the job of a row is due, as in Redis."""
        for row in self.filter(job_id=job_id):
            row.job["due"] = due
            row.save(update_fields=["job"])


class OutboxRow(models.Model):
    """One job that may not have reached Redis, or that must not be lost with it."""

    job_id = models.CharField(_("job id"), max_length=32, unique=True)
    job = models.JSONField(_("job"))
    pushed = models.BooleanField(_("may have reached Redis"), default=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("outbox row")
        verbose_name_plural = _("outbox rows")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.job_id

    def new_job(self, *, ambiguous: bool = False) -> NewJob:
        """Return the job as it was submitted. `ambiguous`: it may have been sent already."""
        job = NewJob(**{**self.job, "backoff": Backoff.parse(self.job["backoff"])})
        return replace(job, ambiguous=ambiguous or job.ambiguous)


def _as_json(job: NewJob) -> dict[str, Any]:
    fields = asdict(job)
    if job.due.startswith("+"):
        fields["due"] = f"{time.time() + float(job.due):.6f}"
    return fields
