"""What happens when Django loads the app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventsConfig(AppConfig):
    """The event bus."""

    name = "events"
    verbose_name = _("Events")

    def ready(self) -> None:
        """Read the settings, so that wrong ones stop the start-up; make job functions known; connect receivers."""
        from events import (
            dispatch,  # noqa: F401 - for its effect: from now on jobs may call it
            receivers,
        )
        from events.conf import get_settings

        get_settings()
        receivers.connect_all()
