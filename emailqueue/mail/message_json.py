"""
How one of Django's messages is taken apart into JSON, and put together again.

It is the message's own parts that are kept, not its wire form, so that a backend which speaks to an API finds what it
looks for. Of a message whose class builds its MIME by itself (it is signed, for example) the wire form is kept, too,
and goes out as it was.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from email import message_from_bytes
from email.charset import Charset
from email.message import Message
from typing import Any
from uuid import UUID

from django.core.mail import EmailAlternative, EmailAttachment, EmailMessage, EmailMultiAlternatives
from django.utils.functional import Promise
from django.utils.timezone import is_naive, make_aware

from emailqueue.errors import InvalidMessage
from emailqueue.mail.content import packed, text_of, text_or_bytes, unpacked

Parts = dict[str, Any]
"""What a message consists of, as JSON values; only the contents that replaced() changes may be bytes."""

ADDRESSES = ("to", "cc", "bcc", "reply_to")
SUBTYPES = ("content_subtype", "mixed_subtype", "alternative_subtype")
ESP = (
    *("envelope_sender", "esp_extra", "merge_data", "merge_global_data", "merge_headers", "merge_metadata", "metadata"),
    *("send_at", "tags", "template_id", "track_clicks", "track_opens"),
)
"""What django-anymail reads from a message beside Django's own fields."""
BUILDS = re.compile(r"message$|_(create|add|set|idna)_")
"""Names of the methods by which Django's messages build their MIME; which there are differs from version to version."""


class WireMessage(EmailMultiAlternatives):
    """A message that goes out as it was built before."""

    wire: bytes = b""

    def message(self, **_policy: Any) -> Any:
        """Return the MIME message that was built before, whose headers are not folded again."""
        return message_from_bytes(self.wire)


def take_apart(message: EmailMessage) -> Parts:
    """Return the parts of a message, the contents of its attachments as bytes. Raises InvalidMessage."""
    encoding: Any = message.encoding
    parts = {
        "subject": str(message.subject),
        "from": str(message.from_email),
        **{name: [str(address) for address in getattr(message, name)] for name in ADDRESSES},
        "headers": [[str(name), str(value)] for name, value in message.extra_headers.items()],
        "body": text_or_bytes(str(message.body)),
        "encoding": dict(vars(encoding)) if isinstance(encoding, Charset) else encoding,
        "subtypes": _subtypes(message),
        "alternatives": [_alternative(*alternative) for alternative in getattr(message, "alternatives", None) or ()],
        "attachments": [_attachment(attachment) for attachment in message.attachments],
        "esp": _esp(message),
    }
    return {name: part for name, part in parts.items() if part}


def put_together(parts: Mapping[str, Any]) -> EmailMultiAlternatives:
    """Return the message of parts whose contents are bytes again. Raises LookupError, TypeError or ValueError."""
    message = EmailMultiAlternatives()
    if "wire" in parts:
        message = WireMessage()
        message.wire = parts["wire"]
    message.subject, message.from_email = parts.get("subject", ""), parts["from"]
    message.body = text_of(parts.get("body", ""))
    for name in ADDRESSES:
        setattr(message, name, list(parts.get(name, ())))
    message.extra_headers = dict(parts.get("headers", ()))
    message.encoding = _read_encoding(parts.get("encoding"))
    for name, value in {**parts.get("subtypes", {}), **parts.get("esp", {})}.items():
        if name in SUBTYPES or name in ESP:
            setattr(message, name, value)
    message.alternatives = [
        EmailAlternative(unpacked(entry), entry["mimetype"]) for entry in parts.get("alternatives", ())
    ]
    message.attachments = [_read_attachment(entry) for entry in parts.get("attachments", ())]
    return message


def builds_itself(message: EmailMessage) -> bool:
    """Return whether the message's class has a way of its own to build the MIME message, or a step of it."""
    kind = type(message)
    known = EmailMultiAlternatives if isinstance(message, EmailMultiAlternatives) else EmailMessage
    return any(getattr(kind, name) is not getattr(known, name) for name in dir(known) if BUILDS.match(name))


def size_of(parts: Mapping[str, Any]) -> int:
    """Return the bytes of all contents that are bytes."""
    sizes: list[int] = []
    replaced(parts, lambda content: sizes.append(len(content)) if isinstance(content, bytes) else None)
    return sum(sizes)


def replaced(parts: Mapping[str, Any], change: Callable[[Any], Any]) -> Parts:
    """Return the parts with each content put through `change`."""
    changed = {name: change(parts[name]) for name in ("body", "wire") if name in parts}
    for name in ("alternatives", "attachments"):
        if name in parts:
            changed[name] = [{**entry, "content": change(entry["content"])} for entry in parts[name]]
    return {**parts, **changed}


def _subtypes(message: EmailMessage) -> dict[str, str]:
    """Return those that are not Django's choice; some versions refuse even that one."""
    chosen = {name: getattr(message, name, None) for name in SUBTYPES}
    django = {name: getattr(EmailMultiAlternatives, name, None) for name in SUBTYPES}
    return {name: value for name, value in chosen.items() if value and value != django[name]}


def _read_encoding(encoding: Any) -> Any:
    if not isinstance(encoding, Mapping):
        return encoding
    charset = Charset()
    vars(charset).update(encoding)
    return charset


def _alternative(content: Any, mimetype: str) -> dict[str, Any]:
    entry = {**packed(content), "mimetype": mimetype}
    return {**entry, "content": text_or_bytes(str(content))} if entry["kind"] == "text" else entry


def _attachment(attachment: Any) -> dict[str, Any]:
    if isinstance(attachment, Message):
        return packed(attachment)
    filename, content, mimetype = attachment
    return {**packed(content), "filename": None if filename is None else str(filename), "mimetype": mimetype}


def _read_attachment(entry: Mapping[str, Any]) -> Any:
    if "filename" not in entry:
        return unpacked(entry, whole=True)
    return EmailAttachment(entry["filename"], unpacked(entry), entry["mimetype"])


def _esp(message: EmailMessage) -> dict[str, Any]:
    given = {name: getattr(message, name) for name in ESP if hasattr(message, name)}
    if isinstance(given.get("send_at"), date):
        given["send_at"] = _unix_time(given["send_at"])
    # A class stands for "not set" there.
    return {name: _plain(value) for name, value in given.items() if not isinstance(value, type)}


def _unix_time(moment: date) -> float:
    """Return a time as a number, which django-anymail takes, too; a day is its midnight, as there."""
    moment = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
    return (make_aware(moment) if is_naive(moment) else moment).timestamp()


def _plain(value: Any) -> Any:
    """Return what django-anymail reads from a message as JSON values."""
    if isinstance(value, Promise | Decimal | UUID):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence | set) and not isinstance(value, str | bytes):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise InvalidMessage(f"The message holds {value!r}, which cannot be queued.")
