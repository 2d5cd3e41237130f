"""What the admin and its permissions know the trails by. They live in Redis: there is no table."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class EventTrail(models.Model):
    """The trail of one event; see emailqueue.events.trail."""

    event_id = models.CharField(_("event id"), max_length=32, primary_key=True)

    class Meta:
        managed = False
        verbose_name = _("event trail")
        verbose_name_plural = _("event trails")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.event_id
