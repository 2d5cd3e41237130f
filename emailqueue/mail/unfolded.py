"""
How a header stays on one line, of up to 998 characters (RFC 5322, section 2.1.1).

Python breaks lines after 78. One without a space in it the policy of Django 6 then encodes as =?utf-8?…, which mail
programs do not read as a link; that of Django 5.2 leaves its first line empty.
"""

from __future__ import annotations

from email.header import Header
from email.message import Message
from email.policy import EmailPolicy, Policy
from typing import Any, Self


def unfold(message: Message[Any, Any], name: str) -> None:
    """Have a header of `message`, if it is there, written on one line."""
    if name not in message:
        return
    value = str(message[name])
    del message[name]
    # Past Django 5.2, whose messages make text of whatever they are given.
    header = UnfoldedText(name, value) if isinstance(message.policy, EmailPolicy) else UnfoldedHeader(value)
    Message.__setitem__(message, name, header)


class UnfoldedText(str):
    """A header of the policy that Django 6 uses."""

    name: str
    """By this attribute the policy knows a header that folds itself."""

    def __new__(cls, name: str, value: str) -> Self:
        header = super().__new__(cls, value)
        header.name = name
        return header

    def fold(self, *, policy: Policy[Any]) -> str:
        """Return the line."""
        return f"{self.name}: {self}{policy.linesep}"


class UnfoldedHeader(Header):
    """A header of the policy that Django 5.2 uses."""

    def encode(self, splitchars: str = "", maxlinelen: int | None = None, linesep: str = "\n") -> str:
        """Return the value, whatever length is asked for."""
        return str(self)
