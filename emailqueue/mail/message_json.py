"""
How one of Django's messages is taken apart into JSON, and put together again.

It is the message's own parts that are kept, not its wire form, so that a backend which speaks to an API finds what it
looks for. Of a message whose class builds its MIME by itself (it is signed, for example) the wire form is kept, too,
and goes out as it was.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from emailqueue.mail.content import content_of, read_content, text_of, text_or_bytes

Parts = dict[str, Any]
"""What a message consists of, as JSON values; only the contents that contents() walks may be bytes."""

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
    alternatives = getattr(message, "alternatives", None) or ()
    parts = {
        "subject": str(message.subject),
        "from": str(message.from_email),
        **{name: [str(address) for address in getattr(message, name)] for name in ("to", "cc", "bcc", "reply_to")},
        "headers": [[str(name), str(value)] for name, value in message.extra_headers.items()],
        "body": text_or_bytes(str(message.body)),
        "encoding": _encoding(message.encoding),
        "subtypes": _subtypes(message),
        "alternatives": [_alternative(*alternative) for alternative in alternatives],
        "attachments": [_attachment(attachment) for attachment in message.attachments],
        "esp": _esp(message),
    }
    return {name: part for name, part in parts.items() if part}


def put_together(parts: Mapping[str, Any]) -> EmailMultiAlternatives:
    """Return the message of parts whose contents are bytes again. Raises LookupError, TypeError or ValueError."""
    message = WireMessage() if "wire" in parts else EmailMultiAlternatives()
    message.subject, message.from_email = parts.get("subject", ""), parts["from"]
    message.body = text_of(parts.get("body", ""))
    for name in ("to", "cc", "bcc", "reply_to"):
        setattr(message, name, list(parts.get(name, ())))
    message.extra_headers = dict(parts.get("headers", ()))
    message.encoding = _read_encoding(parts.get("encoding"))
    for name, value in {**parts.get("subtypes", {}), **parts.get("esp", {})}.items():
        if name in SUBTYPES or name in ESP:
            setattr(message, name, value)
    message.alternatives = [
        EmailAlternative(read_content(entry["kind"], entry["content"]), entry["mimetype"])
        for entry in parts.get("alternatives", ())
    ]
    message.attachments = [_read_attachment(entry) for entry in parts.get("attachments", ())]
    if isinstance(message, WireMessage):
        message.wire = parts["wire"]
    return message


def builds_itself(message: EmailMessage) -> bool:
    """Return whether the message's class has a way of its own to build the MIME message, or a step of it."""
    kind = type(message)
    known = EmailMultiAlternatives if isinstance(message, EmailMultiAlternatives) else EmailMessage
    return any(getattr(kind, name) is not getattr(known, name) for name in dir(known) if BUILDS.match(name))


def contents(parts: Mapping[str, Any]) -> Iterator[bytes]:
    """Walk over all contents that are bytes."""
    found: list[bytes] = []
    replaced(parts, lambda content: found.append(content) if isinstance(content, bytes) else content)
    return iter(found)


def replaced(parts: Mapping[str, Any], change: Callable[[Any], Any]) -> Parts:
    """Return the parts with each content put through `change`."""
    changed = {name: change(parts[name]) for name in ("body", "wire") if name in parts}
    for name in ("alternatives", "attachments"):
        if name in parts:
            changed[name] = [{**entry, "content": change(entry["content"])} for entry in parts[name]]
    return {**parts, **changed}


def inline(content: Any) -> Any:
    """Return a content as JSON carries it."""
    return {"base64": base64.b64encode(content).decode()} if isinstance(content, bytes) else content


def read_inline(content: Any) -> Any:
    """Return a content that inline() has written."""
    is_packed = isinstance(content, Mapping) and "base64" in content
    return base64.b64decode(content["base64"], validate=True) if is_packed else content


def _subtypes(message: EmailMessage) -> dict[str, str]:
    """Return those that are not Django's choice; some versions refuse to be told even that one."""
    chosen = {name: getattr(message, name, None) for name in SUBTYPES}
    return {
        name: value for name, value in chosen.items() if value and value != getattr(EmailMultiAlternatives, name, None)
    }


def _encoding(encoding: Any) -> Any:
    if not isinstance(encoding, Charset):
        return encoding
    fields = ("input_charset", "header_encoding", "body_encoding", "output_charset")
    return {name: getattr(encoding, name) for name in fields}


def _read_encoding(encoding: Any) -> Any:
    if not isinstance(encoding, Mapping):
        return encoding
    charset = Charset(encoding["input_charset"])
    charset.header_encoding, charset.body_encoding = encoding["header_encoding"], encoding["body_encoding"]
    charset.output_charset = encoding["output_charset"]
    return charset


def _alternative(content: Any, mimetype: str) -> dict[str, Any]:
    kind, packed = content_of(content)
    return {"kind": kind, "content": text_or_bytes(content) if kind == "text" else packed, "mimetype": mimetype}


def _attachment(attachment: Any) -> dict[str, Any]:
    if isinstance(attachment, Message):
        kind, content = content_of(attachment)
        return {"kind": f"whole {kind}", "content": content}
    filename, content, mimetype = attachment
    kind, content = content_of(content)
    filename = None if filename is None else str(filename)
    return {"kind": kind, "content": content, "filename": filename, "mimetype": mimetype}


def _read_attachment(entry: Mapping[str, Any]) -> Any:
    if entry["kind"].startswith("whole "):
        return read_content(entry["kind"].removeprefix("whole "), entry["content"], whole=True)
    return EmailAttachment(entry["filename"], read_content(entry["kind"], entry["content"]), entry["mimetype"])


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
