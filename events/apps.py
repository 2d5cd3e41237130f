"""How Django loads the application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventsConfig(AppConfig):
    """Topics, e-mails and receivers."""

    name = "events"
    verbose_name = _("Events")

    def ready(self) -> None:
        """Define the topics, register the e-mail types and connect the receivers."""
        from events import receivers  # noqa: F401
