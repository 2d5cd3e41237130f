"""A letter's mail as it would go out now, and how that differs from what it was."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import linebreaks

from emailqueue.conf import get_settings
from emailqueue.email_types import EmailType, email_types
from emailqueue.mail.messages import MESSAGE, preview_of, recipients_of
from emailqueue.mail.rendering import message_id, render
from emailqueue.models import DeadLetter

UNKNOWN = "unknown"
MOST_LINES = 200
"""Lines of a difference that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """A mail that was rendered, or why it could not be."""

    sender: str = ""
    to: str = ""
    reply_to: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: Sequence[str] = ()
    """File name, type and size of each."""

    error: str = ""

    def as_json(self) -> dict[str, str]:
        """Return what is kept with a letter."""
        return {"subject": self.subject, "text": self.text}


def render_now(letter: DeadLetter) -> Rendition:
    """Render the mail of a letter. What goes wrong is told in `error`: templates raise anything."""
    arguments = letter.arguments if isinstance(letter.arguments, dict) else {}
    try:
        if letter.email_type == MESSAGE:
            return _of_message(arguments)
        return rendition(
            email_types()[letter.email_type],
            arguments["to"],
            arguments["context"],
            job_id=letter.job_id or UNKNOWN,
            language=arguments.get("language"),
        )
    except Exception as error:  # noqa: BLE001 - see above
        return Rendition(error=f"{type(error).__name__}: {error}")


def rendition(
    email_type: EmailType, to: str, context: Mapping[str, Any], *, job_id: str = UNKNOWN, language: str | None = None
) -> Rendition:
    """Render a mail as it would go out now. Raises whatever its template raises."""
    # A link that works is for the recipient alone.
    link = f"{get_settings().frontend_url}/…" if email_type.subscribed else ""
    message = render(email_type, to, context, message_id=message_id(job_id), language=language, unsubscribe_url=link)
    return Rendition(
        sender=message.from_email,
        to=to,
        reply_to=", ".join(message.reply_to),
        subject=str(message.subject),
        text=str(message.body),
        html=next((str(part[0]) for part in message.alternatives), ""),
        attachments=[_told(attachment) for attachment in message.attachments],
    )


def _of_message(arguments: Mapping[str, Any]) -> Rendition:
    message = preview_of(arguments)
    html = next((str(content) for content, mimetype in message.alternatives if mimetype == "text/html"), "")
    text = str(message.body)
    if message.content_subtype == "html":
        text, html = "", text
    attached = arguments["message"].get("attachments", ())
    return Rendition(
        sender=message.from_email,
        to=", ".join(recipients_of(arguments)),
        reply_to=", ".join(message.reply_to),
        subject=str(message.subject),
        text=text,
        html=html or linebreaks(text, autoescape=True),
        attachments=[str(entry.get("filename") or entry.get("mimetype", "…")) for entry in attached],
    )


def _told(attachment: Any) -> str:
    name, content, mimetype = attachment
    size = len(content.encode() if isinstance(content, str) else content)
    return f"{name or '-'} ({mimetype}, {filesizeformat(size)})"


def render_at_death(letter: DeadLetter) -> dict[str, str] | None:
    """Return what a letter keeps of its mail when it dies; None for types that are never out of date."""
    if _stale_after(letter.email_type) is None:
        return None
    rendition = render_now(letter)
    return None if rendition.error else rendition.as_json()


def is_stale(letter: DeadLetter, *, now: datetime | None = None) -> bool:
    """Return whether the mail is older than its type allows without asking."""
    limit = _stale_after(letter.email_type)
    if limit is None:
        return False
    return (now or timezone.now()) - (letter.created_at or letter.died_at) > limit


def differences(letter: DeadLetter, rendition: Rendition) -> list[str] | None:
    """Return the lines in which the mail now differs from the mail at its death; None when that is not on record."""
    kept = letter.rendered
    if not isinstance(kept, dict) or rendition.error:
        return None
    then = [str(kept.get("subject", "")), "", *str(kept.get("text", "")).splitlines()]
    now = [rendition.subject, "", *rendition.text.splitlines()]
    lines = list(difflib.unified_diff(then, now, lineterm="", n=1))[2:]
    return lines[:MOST_LINES]


def _stale_after(name: str) -> timedelta | None:
    email_type: EmailType | None = email_types().get(name)
    if email_type is None or email_type.stale_after is None:
        return None
    limit = email_type.stale_after
    return limit if isinstance(limit, timedelta) else timedelta(seconds=limit)
