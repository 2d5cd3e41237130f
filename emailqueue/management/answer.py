"""What a verb of `manage.py emailqueue` answers when text alone does not tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Text to print, and the status with which the command exits."""

    text: str
    status: int = 0
