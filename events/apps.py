"""What happens when Django loads the app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventsConfig(AppConfig):
    """The event bus."""

    name = "events"
    verbose_name = _("Events")

    def ready(self) -> None:
        """Make the job functions known to workers and connect the built-in receivers."""
        from emailqueue.monitor.panels import register_panel
        from events import (
            dispatch,  # noqa: F401 - for its effect: from now on jobs may call it
            receivers,
        )
        from events.panel import events_panel

        receivers.connect_all()
        register_panel("events", events_panel)
