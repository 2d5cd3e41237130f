"""How Django gets to know the app."""

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _


class EmailQueueConfig(AppConfig):
    """The e-mail queue: its tables, its admin and its system checks."""

    name = "emailqueue"
    verbose_name = _("E-mail queue")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Read the settings, so that wrong ones stop the start-up; make job functions and checks known."""
        import emailqueue.deliver  # noqa: F401  registers its job function
        from emailqueue.checks import (
            check_alerts,
            check_attachment_storage,
            check_mailer,
            check_redis,
            check_rq_queues,
            check_time_zones,
            check_unsubscribe,
        )
        from emailqueue.conf import get_settings
        from emailqueue.monitor.builtin_panels import register_builtin_panels
        from emailqueue.unsubscribe import tracking

        get_settings()
        register_builtin_panels()
        tracking.connect()
        register(check_alerts)
        register(check_attachment_storage)
        register(check_mailer)
        register(check_redis, "redis")
        register(check_rq_queues, "redis")
        register(check_time_zones)
        register(check_unsubscribe)
