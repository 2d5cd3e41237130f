"""What mail services tell by django-anymail's tracking signal: who must not be written to any more."""

from __future__ import annotations

from typing import Any

from django.apps import apps

from emailqueue.models import Subscription
from emailqueue.subscriptions.bounces import bounced_for_good, rejected_for_good

State = Subscription.State


def connect() -> None:
    """Listen to anymail where the project has it."""
    if apps.is_installed("anymail"):
        from anymail.signals import tracking

        tracking.connect(suppress, dispatch_uid="emailqueue.subscriptions")


def suppress(event: Any, esp_name: str, **_kwargs: Any) -> None:
    """Hold all subscribed types back from an address that bounced for good, complained or unsubscribed."""
    state = _state(event, esp_name)
    if state is None or not event.recipient:
        return
    said = " · ".join(filter(None, [esp_name, event.reject_reason, event.mta_response or event.description]))
    Subscription.objects.suppress(event.recipient, state, detail=said)


def _state(event: Any, esp_name: str) -> Subscription.State | None:
    match event.event_type, event.reject_reason:
        case ("complained", _):
            return State.COMPLAINED
        case ("unsubscribed", _) | ("bounced" | "rejected", "unsubscribed"):
            return State.UNSUBSCRIBED
        case ("bounced", _) if bounced_for_good(event, esp_name):
            return State.BOUNCED
        case ("rejected", "bounced" | "invalid" | "spam" as reason) if rejected_for_good(event, esp_name):
            return State.COMPLAINED if reason == "spam" else State.BOUNCED
    return None
