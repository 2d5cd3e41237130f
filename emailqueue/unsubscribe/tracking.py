"""What mail services tell by django-anymail's tracking signal: who must not be written to any more."""

from __future__ import annotations

from typing import Any

from django.apps import apps

from emailqueue.models import Subscription

STATES = {
    "bounced": Subscription.State.BOUNCED,  # anymail's word for soft ones is deferred
    "complained": Subscription.State.COMPLAINED,
    "unsubscribed": Subscription.State.UNSUBSCRIBED,
}


def connect() -> None:
    """Listen to anymail where the project has it."""
    if apps.is_installed("anymail"):
        from anymail.signals import tracking

        tracking.connect(suppress, dispatch_uid="emailqueue.unsubscribe")


def suppress(event: Any, esp_name: str, **_kwargs: Any) -> None:
    """Hold all subscribed types back from an address that bounced for good, complained or unsubscribed."""
    state = STATES.get(event.event_type)
    if state is None or not event.recipient:
        return
    said = " · ".join(filter(None, [esp_name, event.reject_reason, event.mta_response or event.description]))
    Subscription.objects.suppress(event.recipient, state, detail=said)
