"""The table of the attempts that a dead letter has behind it."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from emailqueue.jobs.ends import End
from emailqueue.models.fields import PlainField


class FailureFields(models.Model):
    """What went wrong: in an attempt, and, as the last of them, in its dead letter."""

    error_class = models.CharField(_("error"), max_length=200, blank=True)
    message = models.TextField(_("error message"), blank=True)
    smtp_code = models.IntegerField(_("SMTP code"), null=True)
    smtp_reply = models.TextField(_("SMTP reply"), blank=True)
    rule = models.CharField(_("rule of the verdict"), max_length=100, blank=True)

    class Meta:
        abstract = True


class Attempt(FailureFields):
    """One attempt at a job that became a dead letter."""

    dead_letter = models.ForeignKey(
        "emailqueue.DeadLetter", models.CASCADE, related_name="attempts", verbose_name=_("dead letter")
    )
    number = models.IntegerField(_("number"))
    at = models.DateTimeField(_("at"))
    kind = PlainField(_("outcome"), max_length=20, choices=End.choices)
    charged = models.BooleanField(_("counts as an attempt"), default=True)
    times = models.IntegerField(_("times"), default=1)
    worker = models.CharField(_("worker"), max_length=200, blank=True)
    phase = models.CharField(_("SMTP phase"), max_length=20, blank=True)
    traceback = models.TextField(_("traceback"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ()
        ordering = ("number",)
        constraints = (models.UniqueConstraint(fields=["dead_letter", "number"], name="emailqueue_attempt_number"),)

    def __str__(self) -> str:
        return f"{self.number}: {self.kind}"
