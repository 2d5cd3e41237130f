"""How a body, an alternative or an attachment becomes text or bytes that JSON carries, and is read again."""

import base64
import re
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.message import EmailMessage as MIMEMessage
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from io import BytesIO
from typing import Any

from django.core.mail import EmailMessage

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What databases refuse in JSON."""


def packed(content: Any) -> dict[str, Any]:
    """Return of what kind a content is, and its bytes."""
    if isinstance(content, bytes | bytearray | memoryview):
        return {"kind": "bytes", "content": bytes(content)}
    if isinstance(content, EmailMessage):  # Django's, to be attached as message/rfc822
        content = content.message()
    if isinstance(content, Message):
        return {"kind": "part" if isinstance(content, MIMEPart) else "legacy part", "content": as_bytes(content)}
    return {"kind": "text", "content": str(content).encode("utf-8", "surrogatepass")}


def unpacked(entry: Mapping[str, Any], *, whole: bool = False) -> Any:
    """Return what packed() was given. `whole`: it is an attachment by itself. Raises LookupError or ValueError."""
    content = entry["content"]
    match entry["kind"], whole:
        case "bytes", False:
            return content
        case "text", False:
            return text_of(content)
        case "part", _:
            part_class: type[Any] = MIMEPart if whole else MIMEMessage
            return message_from_bytes(content, _class=part_class, policy=policy.default)
        case "legacy part", _:
            return message_from_bytes(content, _class=_LegacyPart if whole else Message)
    raise ValueError(f"{entry['kind']!r} is no kind of content.")


class _LegacyPart(MIMEBase):
    """A part as the parser makes it, of a class that Django attaches as it is."""

    def __init__(self, policy: Any = policy.compat32) -> None:
        Message.__init__(self, policy=policy)


def as_bytes(message: Message, *, linesep: str | None = None) -> bytes:
    """Return a MIME message as it is kept, or sent with those line ends."""
    # Django's messages have such a method, whose argument for the line ends is another in each version.
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False).flatten(message, linesep=linesep)
    return written.getvalue()


def text_or_bytes(text: str) -> str | bytes:
    """Return a text, as bytes if it holds what databases refuse in JSON."""
    return text.encode("utf-8", "surrogatepass") if UNSTORABLE.search(text) else text


def text_of(text: str | bytes) -> str:
    """Return the text that text_or_bytes() has written, or that was stored."""
    return text.decode("utf-8", "surrogatepass") if isinstance(text, bytes) else text


def inline(content: Any) -> Any:
    """Return a content as JSON carries it."""
    return {"base64": base64.b64encode(content).decode()} if isinstance(content, bytes) else content


def read_inline(content: Any) -> Any:
    """Return a content that inline() has written."""
    is_inline = isinstance(content, Mapping) and "base64" in content
    return base64.b64decode(content["base64"], validate=True) if is_inline else content
