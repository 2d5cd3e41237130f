"""What came of one attempt, and what is done about it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

MAX_TEXT = 20_000
"""Characters of a traceback or message that are kept: both ends, the middle is cut."""


class Kind(Enum):
    """How an attempt ended."""

    SENT = "sent"
    TRANSIENT = "transient"
    """Failed in a way that may pass: tried again after the backoff, until the attempts are used up."""
    PERMANENT = "permanent"
    """Refused for good: a dead letter at once."""
    OUTAGE = "outage"
    """The mail server as a whole is away: the mail waits, and no attempt is charged."""
    SLOWED = "slowed"
    """The recipient's domain asks us to go slower: the mail waits, and no attempt is charged."""
    AWAY = "away"
    """A part of ours that the mail needs is away, such as the database: the mail waits, and no attempt is charged."""
    AMBIGUOUS = "ambiguous"
    """The connection broke when the mail may have been accepted already."""
    MALFORMED = "malformed"
    """The job cannot be read, or calls what it must not: a dead letter at once."""
    SKIPPED = "skipped"
    """The recipient gets no mails of this type any more: done, without a mail."""
    UNSENT = "unsent"
    """Nothing was tried: the job goes back as it was."""
    LOST = "lost"
    """The lease is another worker's now: there is nothing to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The error of one attempt, as the admin shows it."""

    error_class: str
    message: str
    phase: str = ""
    """Where in the SMTP dialogue: connect, mail, rcpt, data or body; empty outside of it."""
    smtp_code: int | None = None
    smtp_reply: str = ""
    verdict: str = ""
    """The Action that emailqueue.verdict.judge named; empty: it was not asked."""
    rule: str = ""
    """The rule that said so."""
    traceback: str = ""

    @classmethod
    def of(
        cls,
        error: BaseException,
        *,
        phase: str = "",
        code: int | None = None,
        reply: str = "",
        verdict: str = "",
        rule: str = "",
    ) -> Failure:
        """Return the failure that `error` stands for."""
        return cls(
            error_class=f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
            message=shorten(str(error)),
            phase=phase,
            smtp_code=code,
            smtp_reply=shorten(reply),
            verdict=verdict,
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

    kind: Kind
    failure: Failure | None = None
    staged: Staged | None = None
    """What the job has queued, when it was sent or done."""

    @classmethod
    def failed(cls, kind: Kind, error: BaseException, **where: Any) -> Outcome:
        """Return an outcome of that kind, with `error` as its failure. `where`: see Failure.of()."""
        return cls(kind=kind, failure=Failure.of(error, **where))


SENT = Outcome(kind=Kind.SENT)
SKIPPED = Outcome(kind=Kind.SKIPPED)
UNSENT = Outcome(kind=Kind.UNSENT)
LOST = Outcome(kind=Kind.LOST)


def shorten(text: str) -> str:
    """Return `text` without NUL, which PostgreSQL refuses, and with its middle cut out when it is very long."""
    text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n… {len(text) - MAX_TEXT} characters left out …\n{text[-half:]}"


Attempt = Mapping[str, Any]
"""One entry of a job's history: at (ISO time), kind, charged, worker, times, and the fields of Failure."""
