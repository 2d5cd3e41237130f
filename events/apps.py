"""What happens when Django loads the app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventsConfig(AppConfig):
    """The event bus."""

    name = "events"
    verbose_name = _("Events")

    def ready(self) -> None:
        """Make the job functions known to workers and connect the built-in receivers."""
        from events import (
            dispatch,  # noqa: F401 - for its effect: from now on jobs may call it
            receivers,
        )

        receivers.connect_all()
