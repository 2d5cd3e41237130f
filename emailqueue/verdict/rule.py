"""What a rule about failed attempts looks like, and when it fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from django.utils.functional import Promise

from emailqueue.jobs.ends import End

PHASES = ("connect", "mail", "rcpt", "data", "body", "api")
"""Where an attempt can fail. connect: up to and with EHLO, STARTTLS and AUTH; api: in a backend that is not SMTP."""

MOST_TEXT = 4000
"""Characters of a reply that are looked at; what matters stands at the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a failed attempt: the server's reply, or the error that came in its place."""

    phase: str
    code: int | None = None
    """The SMTP code (RFC 5321, section 4.2); in the phase api the HTTP status."""
    status: str = ""
    """The enhanced status code (RFC 3463), such as 5.1.1; empty: the reply has none."""
    text: str = ""
    """The words of the reply, on one line and without codes."""
    errors: frozenset[str] = frozenset()
    """Names of the error's classes and of their bases, and of the errors that caused it."""

    @classmethod
    def of(cls, phase: str, code: int | None, reply: str, error: BaseException | None) -> Evidence:
        """Read a reply and an error."""
        # RFC 2034, section 4: the status begins the text of each line. Some put # or brackets around it.
        reply = reply[:MOST_TEXT]
        begin = re.match(r"[\s#(\[]*([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)", reply)
        status = begin[1] if begin else ""
        plain = re.sub(rf"(?m)^[\s#(\[]*{re.escape(status)}[)\]:]?", " ", reply) if status else reply
        errors = frozenset(kind.__name__ for each in _chain(error) for kind in type(each).__mro__)
        return cls(phase=phase, code=code, status=status, text=" ".join(plain.split()), errors=errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Judges the failed attempts that fit all of what it names; what it leaves empty fits every one."""

    name: str
    end: End
    """How the attempt ended, and so what becomes of the mail."""
    sentence: str | Promise = field(compare=False)
    """What staff read: what is wrong, and what to do."""
    phases: tuple[str, ...] = ()
    codes: str = ""
    """SMTP codes or HTTP statuses, parted by blanks; x is any digit: "421 45x"."""
    status: str = ""
    """Enhanced status codes, parted by blanks; x is any number: "x.1.1 5.7.x"."""
    text: str = ""
    """A regular expression, searched in the words of the reply; upper and lower case are the same."""
    errors: tuple[str, ...] = ()
    """Names of error classes, one of which is enough."""
    before_contact: bool = False
    """Whether the server was never spoken to. Always so in the phase connect."""
    about_account: bool = False
    """Whether the server refuses our account, which staff must hear of at once."""

    def fits(self, evidence: Evidence) -> bool:
        """Return whether the rule judges that attempt."""
        return (
            (not self.phases or evidence.phase in self.phases)
            and (not self.codes or _codes(self.codes).fullmatch(str(evidence.code)) is not None)
            and (not self.status or _codes(self.status).fullmatch(evidence.status) is not None)
            and (not self.errors or not evidence.errors.isdisjoint(self.errors))
            and (not self.text or re.search(self.text, evidence.text, re.IGNORECASE) is not None)
        )


@cache
def _codes(patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(pattern.replace(".", r"\.").replace("x", r"\d+") for pattern in patterns.split()))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those that it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
