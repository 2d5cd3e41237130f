"""How the content of a body, an alternative or an attachment becomes text or bytes, and is read again."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.message import EmailMessage as MIMEMessage
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from io import BytesIO
from typing import Any

from django.core.mail import EmailMessage


def content_of(content: Any) -> tuple[str, bytes]:
    """Return what a content is, and its bytes."""
    if isinstance(content, bytes | bytearray | memoryview):
        return "bytes", bytes(content)
    if isinstance(content, EmailMessage):  # Django's, to be attached as message/rfc822
        content = content.message()
    if isinstance(content, MIMEPart | MIMEMessage):
        return "part", as_bytes(content)
    if isinstance(content, Message):
        return "legacy part", as_bytes(content)
    return "text", str(content).encode("utf-8", "surrogatepass")


def read_content(kind: str, content: Any, *, whole: bool = False) -> Any:
    """Return a content of that kind. Raises ValueError for what is none."""
    if kind == "bytes":
        return content
    if kind == "text":
        return text_of(content)
    if kind == "part":
        part_class: type[Any] = MIMEPart if whole else MIMEMessage
        return message_from_bytes(content, _class=part_class, policy=policy.default)
    if kind == "legacy part":
        return message_from_bytes(content, _class=_LegacyPart if whole else Message)
    raise ValueError(f"{kind!r} is no kind of content.")


class _LegacyPart(MIMEBase):
    """A part as the parser makes it, and as Django wants it."""

    def __init__(self, policy: Any = policy.compat32) -> None:
        Message.__init__(self, policy=policy)


def as_bytes(message: Message) -> bytes:
    """Return a MIME message as it is kept."""
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False).flatten(message)
    return written.getvalue()


def text_or_bytes(text: str) -> str | bytes:
    """Return a text, as bytes if it holds what databases refuse in JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text.encode() if "\0" in text else text


def text_of(text: str | bytes) -> str:
    """Return the text that text_or_bytes() has written, or that was stored."""
    return text.decode("utf-8", "surrogatepass") if isinstance(text, bytes) else text
