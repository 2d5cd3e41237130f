"""What the database keeps of a job that was given up, and what staff can do with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import models, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from emailqueue.enqueue.submit import submit
from emailqueue.errors import EmailQueueError, NotDiscardable, NotRetryable
from emailqueue.jobs.ends import Reason
from emailqueue.jobs.job import NewJob
from emailqueue.jobs.priority import Priority
from emailqueue.mail.attachments import KeptFiles
from emailqueue.models.attempt import FailureFields
from emailqueue.models.fields import KEY, DerivedField, PlainField, domain_of, text_key
from emailqueue.models.retry import changes_of, job_of, require_runnable
from emailqueue.verdict.judge import verdicts


class Status(models.TextChoices):
    """What has become of a dead letter. All but open and retrying are final."""

    OPEN = "open", _("open")
    RETRYING = "retrying", _("retrying")
    SENT = "sent", _("sent")
    FAILED_AGAIN = "failed again", _("failed again")
    DISCARDED = "discarded", _("discarded")


class DeadLetterQuerySet(models.QuerySet["DeadLetter"]):
    """Dead letters."""

    def open(self) -> DeadLetterQuerySet:
        """Return those that nobody has dealt with yet."""
        return self.filter(status=Status.OPEN)

    def reopen(self) -> int:
        """Open those whose retry was cancelled."""
        return self.filter(status=Status.RETRYING).update(status=Status.OPEN, retried_job_id="", edits={})


class DeadLetter(FailureFields):
    """One job that was given up. Written by the worker's housekeeping; its id makes that repeatable."""

    id = models.CharField(_("dead letter id"), max_length=64, primary_key=True)
    job_id = models.CharField(_("job id"), max_length=200, db_index=True)
    queue = models.CharField(_("queue"), max_length=100)
    label = models.CharField(_("type"), max_length=200)
    email_type = models.CharField(_("e-mail type"), max_length=200, blank=True)
    recipient = models.CharField(_("recipient"), max_length=320, blank=True)
    priority = models.SmallIntegerField(
        _("priority"), null=True, choices=[(priority.value, priority.name.lower()) for priority in Priority]
    )
    function = models.CharField(_("function"), max_length=300, blank=True)
    arguments = models.JSONField(_("arguments"), null=True)
    raw = models.TextField(_("raw job"), blank=True)
    attempts_allowed = models.IntegerField(_("attempts allowed"), default=1)
    backoff = models.JSONField(_("backoff"), default=dict)
    reason = PlainField(_("reason"), max_length=20, choices=Reason.choices)
    verdict = PlainField(_("verdict"), max_length=20, blank=True, choices=verdicts())
    """How the last attempt ended, if a rule of emailqueue.verdict said so."""
    attempts_charged = models.IntegerField(_("attempts"), default=0)
    created_at = models.DateTimeField(_("queued at"), null=True)
    dead_lettered_at = models.DateTimeField(_("dead-lettered at"), db_index=True)
    status = models.CharField(_("status"), max_length=20, choices=Status.choices, default=Status.OPEN)
    discard_reason = models.TextField(_("reason of the discard"), blank=True)
    closed_at = models.DateTimeField(_("closed at"), null=True)
    retried_job_id = models.CharField(_("retried as job"), max_length=200, blank=True, db_index=True)
    edits = models.JSONField(_("edits of the retry"), default=dict)
    retried_at = models.DateTimeField(_("retried at"), null=True)
    cause = models.CharField(_("caused by"), max_length=64, blank=True, db_index=True)
    """Id of the event, or of the job, that led to this one."""
    redrives = models.CharField(_("retry of"), max_length=64, blank=True)
    """Id of the dead letter whose retry has become this one."""
    rendered = models.JSONField(_("content when it was dead-lettered"), null=True)
    """Subject and text as they were then; only of types that can be out of date."""
    recipient_key = DerivedField(max_length=320, compute=lambda letter: letter.recipient.lower())
    recipient_domain = DerivedField(_("domain"), max_length=255, compute=lambda letter: domain_of(letter.recipient))
    error_key = DerivedField(max_length=KEY, compute=lambda letter: text_key(letter.message))

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        default_permissions = ("view",)
        permissions = (
            ("retry_deadletter", _("Can retry dead letters")),
            ("discard_deadletter", _("Can discard dead letters")),
            ("view_body_deadletter", _("Can view the content of dead letters")),
            ("export_deadletter", _("Can export dead letters")),
            ("control_queues", _("Can pause queues and set the rate limit")),
        )
        # Each filter of the list with its order, newest first.
        indexes = (
            models.Index(fields=["status", "-dead_lettered_at"], name="emailqueue_dead_status"),
            models.Index(fields=["reason", "-dead_lettered_at"], name="emailqueue_dead_reason"),
            models.Index(fields=["verdict", "-dead_lettered_at"], name="emailqueue_dead_verdict"),
            models.Index(fields=["email_type", "-dead_lettered_at"], name="emailqueue_dead_type"),
            models.Index(fields=["smtp_code", "-dead_lettered_at"], name="emailqueue_dead_code"),
            models.Index(fields=["recipient_domain", "-dead_lettered_at"], name="emailqueue_dead_domain"),
            # The classes are PostgreSQL's, for LIKE; the other databases ignore them.
            models.Index(
                fields=["recipient_key", "-dead_lettered_at"],
                name="emailqueue_dead_recipient",
                opclasses=["varchar_pattern_ops", "timestamptz_ops"],
            ),
            models.Index(fields=["error_key"], name="emailqueue_error", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["closed_at"], name="emailqueue_closed"),
        )

    def __str__(self) -> str:
        return f"{self.label} → {self.recipient}" if self.recipient else self.label

    def retry(self, **edits: Any) -> str:
        """
        Put the job back into its queue once the transaction commits, and return the job's id.

        Without edits it is the same job again, so that a mail keeps its Message-ID. Edits are `to`, `context`
        and `priority` of a mail; what they change makes it a new job. One that came through the e-mail backend has
        no context, and keeps its Message-ID. Raises NotRetryable, or what queue_email() raises for wrong edits.
        """
        with self._locked(NotRetryable, "retried") as alias:
            changes = changes_of(self, edits)
            if not changes:
                require_runnable(self)
                self._require_only_retry(alias)
            job = job_of(self, changes)
            if "context" in changes:  # as it is queued: JSON, and with defaults that are made once
                changes["context"] = job.arguments["context"]
            if job.id != self.job_id:
                KeptFiles.objects.hand_on(self.job_id, job.id)
            self._become(Status.RETRYING, retried_job_id=job.id, retried_at=timezone.now(), edits=changes)
            # This row stands for the job: what Redis does not take now, housekeeping offers it again.
            submit([job], using=alias, has_row=True)
        return job.id

    def retried_job(self) -> NewJob:
        """Return the job that a dead letter which is retrying has become. Raises what retry() raises for its edits."""
        return replace(job_of(self, self.edits), id=self.retried_job_id)

    def discard(self, reason: str) -> None:
        """Close the dead letter unsent, for a reason that stays with it. Raises NotDiscardable."""
        if not reason.strip():
            raise NotDiscardable(f"Dead letter {self.pk} is not discarded without a reason. Say in a few words why.")
        with self._locked(NotDiscardable, "discarded"):
            self._become(Status.DISCARDED, discard_reason=reason.strip(), closed_at=timezone.now())

    @contextmanager
    def _locked(self, error_class: type[EmailQueueError], participle: str) -> Iterator[str]:
        """Lock the row for a transaction of the database whose alias this gives. Raises `error_class` unless open."""
        alias = router.db_for_write(DeadLetter, instance=self)
        with transaction.atomic(using=alias):
            self.refresh_from_db(using=alias, from_queryset=DeadLetter.objects.select_for_update())
            if self.status != Status.OPEN:
                raise error_class(f"Dead letter {self.pk} is {self.status}. Only an open one can be {participle}.")
            yield alias

    def _become(self, status: Status, **fields: Any) -> None:
        changed = {"status": status, **fields}
        for name, value in changed.items():
            setattr(self, name, value)
        self.save(update_fields=list(changed))

    def _require_only_retry(self, alias: str) -> None:
        # Redis would take the second of them for the first, and this dead letter would wait for ever.
        if DeadLetter.objects.using(alias).filter(retried_job_id=self.job_id, status=Status.RETRYING).exists():
            raise NotRetryable(f"Job {self.job_id} is being retried already, for another dead letter.")
