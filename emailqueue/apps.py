"""How Django gets to know the app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EmailQueueConfig(AppConfig):
    """The e-mail queue: its tables, its admin and its system checks."""

    name = "emailqueue"
    verbose_name = _("E-mail queue")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Read the settings, so that wrong ones stop the start-up; make job functions and checks known."""
        from emailqueue.checks import links, redis, rq_queues, settings, templates  # noqa: F401  registered
        from emailqueue.conf import get_settings
        from emailqueue.delivery import deliver  # noqa: F401  registers its job function
        from emailqueue.events import dispatch  # noqa: F401  registers its two
        from emailqueue.statistics.builtin_panels import register_builtin_panels
        from emailqueue.subscriptions import tracking

        get_settings()
        register_builtin_panels()
        tracking.connect()
