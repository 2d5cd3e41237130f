"""What mail services tell by django-anymail's tracking signal: who must not be written to any more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.apps import apps

from emailqueue.models import Subscription

State = Subscription.State

# anymail calls a bounce what a service says of a full mailbox or a server that is away, too.
PERMANENT: Mapping[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    "Amazon SES": (("bounce", "bounceType"), ("Permanent",)),
    "Brevo": (("event",), ("hard_bounce", "invalid_email")),
    "MailerSend": (("data", "type"), ("hard_bounced",)),
    "Mailjet": (("hard_bounce",), (True,)),
    "Mandrill": (("event",), ("hard_bounce",)),
    "Postmark": (("Type",), ("HardBounce", "BadEmailAddress")),
    "Resend": (("data", "bounce", "type"), ("Permanent",)),
    "SendGrid": (("type",), ("bounce",)),
    "SendinBlue": (("event",), ("hard_bounce", "invalid_email")),
    "SparkPost": (("msys", "message_event", "bounce_class"), ("10", "30")),
}
"""By service: where its own event says what kind of bounce it is, and which words mean one for good."""
SOFT_ONES_APART = ("Mailgun", "Mailtrap", "Unisender Go")
"""Services whose passing bounces anymail tells as deferred."""
ADDRESS_REFUSED = re.compile(r"(?<![\d.])5(\.\d{1,3}\.\d{1,3}|\d\d)(?![\d.])")
"""In a mail server's answer: a code for good, enhanced (RFC 3463) or not."""


def connect() -> None:
    """Listen to anymail where the project has it."""
    if apps.is_installed("anymail"):
        from anymail.signals import tracking

        tracking.connect(suppress, dispatch_uid="emailqueue.unsubscribe")


def suppress(event: Any, esp_name: str, **_kwargs: Any) -> None:
    """Hold all subscribed types back from an address that bounced for good, complained or unsubscribed."""
    state = _state(event, esp_name)
    if state is None or not event.recipient:
        return
    said = " · ".join(filter(None, [esp_name, event.reject_reason, event.mta_response or event.description]))
    Subscription.objects.suppress(event.recipient, state, detail=said)


def _state(event: Any, esp_name: str) -> Subscription.State | None:
    match event.event_type, event.reject_reason:
        case "complained", _:
            return State.COMPLAINED
        case ("unsubscribed", _) | ("rejected", "unsubscribed"):
            return State.UNSUBSCRIBED
        case ("bounced", _) | ("rejected", "bounced" | "invalid"):
            return State.BOUNCED if _is_for_good(event, esp_name) else None
    return None


def _is_for_good(event: Any, esp_name: str) -> bool:
    path, words = PERMANENT.get(esp_name, ((), ()))
    if (said := _at(event.esp_event, path)) is not None:
        return said in words
    # Rejected: the service itself has sent nothing, since it keeps the address on a list.
    if event.event_type == "rejected" or esp_name in SOFT_ONES_APART:
        return True
    return bool(ADDRESS_REFUSED.search(event.mta_response or ""))


def _at(said: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        said = said.get(name) if isinstance(said, Mapping) else None
    return said if path else None
