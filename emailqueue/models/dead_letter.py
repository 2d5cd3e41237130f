"""What the database keeps of a job that was given up, and what staff can do with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

from django.apps import apps
from django.db import models, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from emailqueue.email_types import get_email_type
from emailqueue.enqueue.call import ascii_domain, language_still_there
from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.enqueue.submit import submit
from emailqueue.errors import NotDiscardable, NotRetryable
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.job import Job, MalformedJob, NewJob
from emailqueue.jobs.priority import Priority
from emailqueue.mail.attachments import KeptFiles
from emailqueue.mail.edits import editable_of, edited_job
from emailqueue.mail.messages import MESSAGE
from emailqueue.models.bulk_action import BulkAction
from emailqueue.models.derived import KEY, DerivedField, domain_of, text_key
from emailqueue.models.subscription import Subscription
from emailqueue.verdict.judge import Action

__all__ = ["Attempt", "BulkAction", "DeadLetter", "KeptFiles", "OutboxRow", "Reason", "Status", "Subscription"]

EDITABLE = ("to", "context", "priority")


class Reason(models.TextChoices):
    """Why a job was given up."""

    PERMANENT = "permanent", _("refused for good")
    EXHAUSTED = "exhausted", _("all tries failed")
    AMBIGUOUS = "ambiguous", _("maybe sent")
    CRASHED = "crashed", _("its workers crashed")
    EXPIRED = "expired", _("waited too long")
    MALFORMED = "malformed", _("unreadable job")


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


class DeadLetter(models.Model):
    """One job that was given up. Written by the worker's housekeeping; its id makes that repeatable."""

    id = models.CharField(_("death id"), max_length=64, primary_key=True)
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
    attempts_allowed = models.IntegerField(_("tries allowed"), default=1)
    backoff = models.JSONField(_("backoff"), default=dict)
    reason = models.CharField(_("reason"), max_length=20, choices=Reason.choices)
    tries = models.IntegerField(_("tries"), default=0)
    error_class = models.CharField(_("error"), max_length=200, blank=True)
    message = models.TextField(_("error message"), blank=True)
    smtp_code = models.IntegerField(_("SMTP code"), null=True)
    smtp_reply = models.TextField(_("SMTP reply"), blank=True)
    verdict = models.CharField(_("verdict"), max_length=20, blank=True, choices=Action.choices)
    rule = models.CharField(_("rule of the verdict"), max_length=100, blank=True)
    created_at = models.DateTimeField(_("queued at"), null=True)
    died_at = models.DateTimeField(_("died at"), db_index=True)
    status = models.CharField(_("status"), max_length=20, choices=Status.choices, default=Status.OPEN)
    discard_reason = models.TextField(_("reason of the discard"), blank=True)
    closed_at = models.DateTimeField(_("closed at"), null=True)
    retried_job_id = models.CharField(_("retried as job"), max_length=200, blank=True, db_index=True)
    edits = models.JSONField(_("edits of the retry"), default=dict)
    retried_at = models.DateTimeField(_("retried at"), null=True)
    cause = models.CharField(_("caused by"), max_length=64, blank=True, db_index=True)
    """Id of the event, or of the job, that led to this one."""
    redrives = models.CharField(_("retry of"), max_length=64, blank=True)
    """Id of the letter whose retry has died as this one."""
    rendered = models.JSONField(_("rendering at death"), null=True)
    """Subject and text as they were when the mail died; only of types that can be out of date."""
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
            models.Index(fields=["status", "-died_at"], name="emailqueue_status_died"),
            models.Index(fields=["reason", "-died_at"], name="emailqueue_reason_died"),
            models.Index(fields=["verdict", "-died_at"], name="emailqueue_verdict_died"),
            models.Index(fields=["email_type", "-died_at"], name="emailqueue_type_died"),
            models.Index(fields=["smtp_code", "-died_at"], name="emailqueue_code_died"),
            models.Index(fields=["recipient_domain", "-died_at"], name="emailqueue_domain_died"),
            # The classes are PostgreSQL's, for LIKE; the other databases ignore them.
            models.Index(
                fields=["recipient_key", "-died_at"],
                name="emailqueue_recipient_died",
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
        no context, and keeps its Message-ID. Raises NotRetryable, or what
        queue_email() raises for edits that are wrong.
        """
        alias = router.db_for_write(DeadLetter, instance=self)
        with transaction.atomic(using=alias):
            self._lock(alias)
            if self.status != Status.OPEN:
                raise NotRetryable(f"Dead letter {self.pk} is {self.status}. Only an open one can be retried.")
            changes = self._changes(edits)
            if not changes:
                self._require_retryable(alias)
            job = self._new_job(changes) if changes else self._same_job()
            if changes:
                if "context" in changes:  # as it is queued: JSON, and with defaults that are made once
                    changes["context"] = job.arguments["context"]
                KeptFiles.objects.hand_on(self.job_id, job.id)
            self._become(Status.RETRYING, retried_job_id=job.id, retried_at=timezone.now(), edits=changes)
            # The letter is its own outbox row: what Redis does not take now, housekeeping offers it again.
            submit([job], using=alias, has_row=True)
        return job.id

    def retried_job(self) -> NewJob:
        """Return the job that a letter which is retrying has become. Raises what retry() raises."""
        return replace(self._new_job(self.edits), id=self.retried_job_id) if self.edits else self._same_job()

    def discard(self, reason: str) -> None:
        """Close the letter undelivered, for a reason that stays with it. Raises NotDiscardable."""
        if not reason.strip():
            raise NotDiscardable(f"Dead letter {self.pk} is not discarded without a reason. Say in a few words why.")
        alias = router.db_for_write(DeadLetter, instance=self)
        with transaction.atomic(using=alias):
            self._lock(alias)
            if self.status != Status.OPEN:
                raise NotDiscardable(f"Dead letter {self.pk} is {self.status}. Only an open one can be discarded.")
            self._become(Status.DISCARDED, discard_reason=reason.strip(), closed_at=timezone.now())

    def _lock(self, alias: str) -> None:
        self.refresh_from_db(using=alias, from_queryset=DeadLetter.objects.select_for_update())

    def _become(self, status: Status, **fields: Any) -> None:
        changed = {"status": status, **fields}
        for name, value in changed.items():
            setattr(self, name, value)
        self.save(update_fields=list(changed))

    def _changes(self, edits: Mapping[str, Any]) -> dict[str, Any]:
        """Return the edits that differ from what the mail has, as they are stored."""
        editable = editable_of(self.arguments) if self.email_type == MESSAGE else EDITABLE
        unknown = [name for name in edits if name not in editable]
        if unknown:
            raise NotRetryable(
                f"A retry cannot change {', '.join(map(repr, unknown))}. It can change {', '.join(editable)}."
            )
        if edits and not self.email_type:
            raise NotRetryable(f"Dead letter {self.pk} is no e-mail, so it can only be retried as it is.")
        wanted = {**edits, "priority": Priority.parse(edits["priority"]).value} if "priority" in edits else edits
        present = {**(self.arguments or {}), "priority": self.priority}
        return {name: value for name, value in wanted.items() if value != present.get(name)}

    def _new_job(self, changes: Mapping[str, Any]) -> NewJob:
        arguments = self.arguments or {}
        to = changes.get("to", arguments.get("to"))
        priority = changes.get("priority", self.priority)
        plan: Any = {"attempts": self.attempts_allowed, "backoff": self.backoff}
        if self.email_type == MESSAGE:
            job = edited_job(arguments, to, priority=priority, **plan)
        else:
            context = changes.get("context", arguments.get("context"))
            language = language_still_there(arguments.get("language"))
            email_type = get_email_type(self.email_type)
            job = email_type.job(to, context, priority=priority, language=language, **plan)
        return replace(job, letter=self.pk, cause=self.cause)

    def _require_retryable(self, alias: str) -> None:
        """Raise NotRetryable unless the job can run again as it is."""
        if self.arguments is None:
            raise NotRetryable(f"Dead letter {self.pk} holds a job that cannot be read, so it cannot be retried.")
        _require_function(self.function)
        # Redis would take the second of them for the first, and this letter would wait for ever.
        if DeadLetter.objects.using(alias).filter(retried_job_id=self.job_id, status=Status.RETRYING).exists():
            raise NotRetryable(f"Job {self.job_id} is being retried already, for another dead letter.")

    def _same_job(self) -> NewJob:
        return NewJob(
            id=self.job_id,
            queue=self.queue,
            function=self.function,
            arguments=self.arguments or {},
            attempts=self.attempts_allowed,
            backoff=Backoff.parse(self.backoff),
            label=self.label,
            letter=self.pk,
            cause=self.cause,
            domain=ascii_domain(self.recipient),
        )


class Attempt(models.Model):
    """One try of a job that became a dead letter."""

    letter = models.ForeignKey(DeadLetter, models.CASCADE, related_name="attempts", verbose_name=_("dead letter"))
    number = models.IntegerField(_("number"))
    at = models.DateTimeField(_("at"))
    kind = models.CharField(
        _("outcome"),
        max_length=20,
        choices=[
            ("transient", _("failed for now")),
            ("permanent", _("refused for good")),
            ("outage", _("mail server away")),
            ("slowed", _("asked to go slower")),
            ("away", _("a part of ours away")),
            ("ambiguous", _("maybe sent")),
            ("unsent", _("not sent")),
        ],
    )
    charged = models.BooleanField(_("counts as a try"), default=True)
    times = models.IntegerField(_("times"), default=1)
    worker = models.CharField(_("worker"), max_length=200, blank=True)
    error_class = models.CharField(_("error"), max_length=200, blank=True)
    message = models.TextField(_("error message"), blank=True)
    phase = models.CharField(_("SMTP phase"), max_length=20, blank=True)
    smtp_code = models.IntegerField(_("SMTP code"), null=True)
    smtp_reply = models.TextField(_("SMTP reply"), blank=True)
    verdict = models.CharField(_("verdict"), max_length=20, blank=True, choices=Action.choices)
    rule = models.CharField(_("rule of the verdict"), max_length=100, blank=True)
    traceback = models.TextField(_("traceback"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ()
        ordering = ("number",)
        constraints = (models.UniqueConstraint(fields=["letter", "number"], name="emailqueue_attempt_letter_number"),)

    def __str__(self) -> str:
        return f"{self.number}: {self.kind}"


def _require_function(path: str) -> None:
    """Raise NotRetryable unless `path` is a job function of an installed app."""
    module = path.rpartition(".")[0]
    # A letter comes from Redis, so it must not make us import whatever it names.
    if apps.get_containing_app_config(module):
        with suppress(ImportError):
            import_module(module)  # which registers its job functions
    call = Job(id="", queue="", token="", data=json.dumps([path, None, [], {}]).encode())
    try:
        call.function()
    except MalformedJob as error:
        raise NotRetryable(
            f"The job calls {path!r}, which no installed app offers as a job function (any more). "
            "Bring it back, then retry."
        ) from error
