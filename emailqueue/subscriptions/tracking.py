"""What mail services tell by django-anymail's tracking signal: who must not be written to any more."""

import re
from collections.abc import Sequence
from typing import Any

from django.apps import apps

from emailqueue.models import Subscription

State = Subscription.State
Row = tuple[str, str, tuple[Any, ...]]
"""A service, where its own event says what happened, and words that it may say there."""

# anymail calls a bounce what a service says of a full mailbox or a server that is away, too.
FOR_GOOD: Sequence[Row] = (
    ("Amazon SES", "bounce.bounceType", ("Permanent",)),
    ("Brevo", "event", ("hard_bounce", "invalid_email")),
    ("MailerSend", "data.type", ("hard_bounced",)),
    ("Mailgun", "event-data.reason", ("bounce", "suppress-bounce")),
    ("Mailjet", "hard_bounce", (True,)),
    ("Mailtrap", "event", ("bounce",)),
    ("Mandrill", "event", ("hard_bounce",)),
    ("Postmark", "Type", ("HardBounce",)),
    ("Postmark", "SuppressionReason", ("HardBounce",)),
    ("Resend", "data.bounce.type", ("Permanent",)),
    ("SendGrid", "type", ("bounce",)),
    ("SendinBlue", "event", ("hard_bounce", "invalid_email")),
    ("SparkPost", "msys.message_event.bounce_class", ("10", "30")),
    (
        "Unisender Go",
        "delivery_info.delivery_status",
        ("err_user_unknown", "err_user_inactive", "err_mailbox_discarded", "err_domain_inactive"),
    ),
)
"""Bounces. Whatever else stands there may pass."""

FOR_NOW: Sequence[Row] = (
    ("Mailjet", "error", ("quota exceeded", "relay/access denied")),
    ("SparkPost", "msys.message_event.bounce_class", ("20", "21", "22", "23", "40", "51", "52", "70")),
)
"""Rejections. Others are for good, since the service keeps the address on a list, and has sent nothing."""

ENHANCED = re.compile(r"(?<![\d.])([45])\.(\d{1,3}\.\d{1,3})(?!\.?\d)")
"""A code of RFC 3463; no address of a server, which has four numbers."""
NOT_THE_ADDRESS = re.compile(r"2\.[23]$|[37]\.")
"""What follows the class in codes of a full mailbox, a mail that is too large, a system and a policy."""
BASIC = re.compile(r"(?:^|smtp;|said:)\s*5\d\d\b")


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
        case ("bounced", _) if _bounced_for_good(event, esp_name):
            return State.BOUNCED
        case ("rejected", "bounced" | "invalid" | "spam" as reason) if _rejected_for_good(event, esp_name):
            return State.COMPLAINED if reason == "spam" else State.BOUNCED
    return None


def _bounced_for_good(event: Any, service: str) -> bool:
    """Return whether no later mail can reach the address, of a `bounced` event."""
    for name, path, words in FOR_GOOD:
        said = _at(event.esp_event, path) if name == service else None
        if said is not None:
            return said in words
    return _refused_for_good(event.mta_response or "")


def _rejected_for_good(event: Any, service: str) -> bool:
    """Return whether a service would reject a later mail, too, of a `rejected` event."""
    return not any(name == service and _at(event.esp_event, path) in words for name, path, words in FOR_NOW)


def _refused_for_good(answer: str) -> bool:
    """Return what the answer of a mail server says: by its enhanced code, or where it has none, by the other."""
    if enhanced := ENHANCED.search(answer):
        kind, subject = enhanced.groups()
        return kind == "5" and not NOT_THE_ADDRESS.match(subject)
    return bool(BASIC.search(answer))


def _at(said: Any, path: str) -> Any:
    for name in path.split("."):
        said = said.get(name) if isinstance(said, dict) else None
    return said
