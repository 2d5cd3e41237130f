"""What came of one attempt: its end, and the failure that staff see."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emailqueue.jobs.ends import End

MAX_TEXT = 20_000
"""Characters of a traceback or message that are kept: both ends, the middle is cut."""

PastAttempt = Mapping[str, Any]
"""One entry of a job's history: at (ISO time), kind (an End), charged, worker, times, and the fields of Failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The error of one attempt, as the admin shows it."""

    error_class: str
    message: str
    phase: str = ""
    """Where in the SMTP dialogue: connect, mail, rcpt, data or body; empty outside of it."""
    smtp_code: int | None = None
    smtp_reply: str = ""
    rule: str = ""
    """Name of the rule of emailqueue.verdict that judged it; empty: none was asked."""
    traceback: str = ""

    @classmethod
    def of(
        cls, error: BaseException, *, phase: str = "", code: int | None = None, reply: str = "", rule: str = ""
    ) -> Failure:
        """Return the failure that `error` stands for."""
        return cls(
            error_class=f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
            message=shorten(str(error)),
            phase=phase,
            smtp_code=code,
            smtp_reply=shorten(reply),
            rule=rule,
            traceback=shorten("".join(traceback.format_exception(error))),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they are stored with the job."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Jobs that are stored in Redis and not yet visible."""

    key: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended, with its failure unless it was sent."""

    end: End
    failure: Failure | None = None
    staged: Staged | None = None
    """What the job has queued, when it was sent or skipped."""

    before_contact: bool = False
    """Whether the mail server was never spoken to about this mail."""

    about_account: bool = False
    """Whether the mail server refuses our account."""

    @classmethod
    def failed(cls, end: End, error: BaseException) -> Outcome:
        """Return an outcome with `error` as its failure."""
        return cls(end=end, failure=Failure.of(error))


SENT = Outcome(end=End.SENT)
SKIPPED = Outcome(end=End.SKIPPED)
BACK = Outcome(end=End.BACK)
LOST = Outcome(end=End.LOST)


def shorten(text: str) -> str:
    """Return `text` without NUL, which PostgreSQL refuses, and with its middle cut out when it is very long."""
    text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n… {len(text) - MAX_TEXT} characters left out …\n{text[-half:]}"
