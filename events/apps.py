"""What happens when Django loads the app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventsConfig(AppConfig):
    """The event bus."""

    name = "events"
    verbose_name = _("Events")

    def ready(self) -> None:
        """Read the settings, so that wrong ones stop the start-up; make job functions known; connect receivers."""
        from emailqueue.monitor.panels import register_panel
        from emailqueue.review.origins import register_origin
        from events import (
            dispatch,  # noqa: F401 - for its effect: from now on jobs may call it
            receivers,
        )
        from events.conf import get_settings
        from events.origin import event_of
        from events.panel import events_panel

        get_settings()
        receivers.connect_all()
        register_panel("events", events_panel)
        register_origin("events", event_of)
