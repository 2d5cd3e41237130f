"""A mail as it would go out now, and how that differs from what it was when it became a dead letter."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import linebreaks

from emailqueue.conf import get_settings
from emailqueue.email_types import EmailType, email_types
from emailqueue.errors import MissingSample
from emailqueue.mail.messages import MESSAGE, preview_of, recipients_of
from emailqueue.mail.rendering import message_id, render
from emailqueue.models import DeadLetter, Status

SAMPLE_RECIPIENT = "ada@example.com"
MAX_LINES = 200
"""Lines of a difference that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A mail that was rendered, or why it could not be."""

    sender: str = ""
    to: str = ""
    reply_to: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: Sequence[str] = ()
    """Name, type and size of each file."""

    error: str = ""


def render_now(letter: DeadLetter) -> Preview:
    """Render the mail of a dead letter. An error is returned in `error`: templates raise anything."""
    arguments = letter.arguments or {}
    try:
        if letter.email_type == MESSAGE:
            return _preview_of_message(arguments)
        to, context, language = arguments["to"], arguments["context"], arguments.get("language")
        return _preview_of_type(email_types()[letter.email_type], to, context, job_id=letter.job_id, language=language)
    except Exception as error:  # noqa: BLE001 - see above
        return Preview(error=f"{type(error).__name__}: {error}")


def render_sample(email_type: EmailType, *, language: str | None = None) -> Preview:
    """
    Render the mail of a type with its sample, in its own language unless one is given.

    Raises MissingSample, InvalidContext for a sample that does not fit, and whatever the template raises.
    """
    if email_type.sample is None:
        raise MissingSample(f"The e-mail type {email_type.name!r} has no sample. Give EmailType(sample=...) a context.")
    context = email_type.complete(email_type.sample, frontend_url=get_settings().frontend_url)
    return _preview_of_type(email_type, SAMPLE_RECIPIENT, context, language=language)


def record_of(letter: DeadLetter) -> dict[str, str] | None:
    """Return what a new dead letter keeps of its mail for differences(); None for types that are never out of date."""
    if _stale_after(letter.email_type) is None:
        return None
    mail = render_now(letter)
    return None if mail.error else {"subject": mail.subject, "text": mail.text}


def is_stale(letter: DeadLetter) -> bool:
    """Return whether the mail of an open dead letter is older than its type allows without asking."""
    limit = _stale_after(letter.email_type)
    if limit is None or letter.status != Status.OPEN:
        return False
    return timezone.now() - (letter.created_at or letter.dead_lettered_at) > limit


def differences(letter: DeadLetter, mail: Preview) -> list[str] | None:
    """Return the lines in which the mail now differs from the mail then; None when no record was kept."""
    if not letter.rendered or mail.error:
        return None
    then = [letter.rendered["subject"], "", *letter.rendered["text"].splitlines()]
    now = [mail.subject, "", *mail.text.splitlines()]
    return list(difflib.unified_diff(then, now, lineterm="", n=1))[2:][:MAX_LINES]


def _preview_of_type(
    email_type: EmailType, to: str, context: Mapping[str, Any], *, job_id: str = "", language: str | None = None
) -> Preview:
    # A link that works is for the recipient alone.
    link = f"{get_settings().frontend_url}/…" if email_type.subscribed else ""
    key = message_id(job_id or "unknown")
    message = render(email_type, to, context, message_id=key, language=language, unsubscribe_url=link)
    return _preview(message, to=to, attachments=[_describe(attachment) for attachment in message.attachments])


def _preview_of_message(arguments: Mapping[str, Any]) -> Preview:
    attached = arguments["message"].get("attachments", ())
    names = [str(entry.get("filename") or entry.get("mimetype", "…")) for entry in attached]
    return _preview(preview_of(arguments), to=", ".join(recipients_of(arguments)), attachments=names)


def _preview(message: EmailMultiAlternatives, *, to: str, attachments: Sequence[str]) -> Preview:
    text = str(message.body)
    html = next((str(content) for content, mimetype in message.alternatives if mimetype == "text/html"), "")
    if message.content_subtype == "html":
        text, html = "", text
    return Preview(
        sender=message.from_email,
        to=to,
        reply_to=", ".join(message.reply_to),
        subject=str(message.subject),
        text=text,
        html=html or linebreaks(text, autoescape=True),
        attachments=attachments,
    )


def _describe(attachment: Any) -> str:
    name, content, mimetype = attachment
    size = len(content.encode() if isinstance(content, str) else content)
    return f"{name or '-'} ({mimetype}, {filesizeformat(size)})"


def _stale_after(name: str) -> timedelta | None:
    email_type = email_types().get(name)
    limit = email_type.stale_after if email_type else None
    return limit if limit is None or isinstance(limit, timedelta) else timedelta(seconds=limit)
