"""How Django loads the application."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Topics, e-mails and receivers."""

    name = "events"

    def ready(self) -> None:
        """Define the topics, register the e-mail types and connect the receivers."""
        from events import receivers  # noqa: F401
