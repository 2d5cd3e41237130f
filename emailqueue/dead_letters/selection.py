"""Which letters a filter and a search select: the same for the list, for an export and for a bulk action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import connections
from django.db.models import Case, Q, QuerySet, Value, When
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from emailqueue.models import DeadLetter, Reason, Status
from emailqueue.models.derived import begins, text_key
from emailqueue.verdict.judge import Action

PROBE = 1000
"""Matches of a search that are looked up by their ids; above, the list is read in its order until a page is full."""

AGES = {
    "hour": (timedelta(hours=1), _("the last hour")),
    "day": (timedelta(days=1), _("the last 24 hours")),
    "week": (timedelta(days=7), _("the last 7 days")),
    "month": (timedelta(days=30), _("the last 30 days")),
}
NO_MAIL = "-"
"""Value of the type for jobs that are no mails."""

NOTHING = Q(pk__in=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter as the address of the list spells it."""

    status: str = ""
    reason: str = ""
    verdict: str = ""
    email_type: str = ""
    smtp_code: str = ""
    domain: str = ""
    since: str = ""
    """ISO time: died then or later."""

    until: str = ""
    """ISO time: died then or earlier."""

    search: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read the query of the list's address. Whatever else stands there counts for nothing."""
        age = AGES.get(query.get("died", ""))
        return cls(
            status=query.get("status__exact", ""),
            reason=query.get("reason__exact", ""),
            verdict=query.get("verdict__exact", ""),
            email_type=query.get("email_type__exact", ""),
            smtp_code=query.get("smtp_code__exact", "").strip(),
            domain=query.get("recipient_domain__exact", "").strip().lower(),
            since=(timezone.now() - age[0]).isoformat() if age else "",
            search=query.get("q", "").strip(),
        )

    @classmethod
    def of_json(cls, fields: Mapping[str, str]) -> Self:
        """Read what as_json() has written."""
        return cls(**fields)

    def as_json(self) -> dict[str, str]:
        """Return the fields that say something."""
        return {name: value for name, value in asdict(self).items() if value}

    def up_to(self, moment: datetime) -> Self:
        """Return this selection without the letters that die after `moment`."""
        return replace(self, until=moment.isoformat())

    def words(self) -> list[tuple[str, str]]:
        """Return what it selects, for people: pairs of label and value."""
        status, reason = dict(Status.choices), dict(Reason.choices)
        told = [
            (_("status"), status.get(self.status, self.status)),
            (_("reason"), reason.get(self.reason, self.reason)),
            (_("verdict"), dict(Action.choices).get(self.verdict, self.verdict)),
            (_("type"), _("no mail") if self.email_type == NO_MAIL else self.email_type),
            (_("SMTP code"), self.smtp_code),
            (_("domain"), self.domain),
            (_("since"), self.since[:16].replace("T", " ")),
            (_("search"), self.search),
        ]
        return [(str(label), str(value)) for label, value in told if value]

    def condition(self) -> Q:
        """Return the condition that a letter fulfils; the search in a form that no index serves."""
        condition = Q()
        for field, text in self._sought() if self.search else []:
            condition |= Q(**{f"{field}__startswith": text})
        return self._filters() & condition

    def narrow(self, letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Return those of `letters` that are selected, so that a page of them is found by an index."""
        if not self.search:
            return self._by_filters(letters)
        found = self._found(letters.db)
        if found is None:
            return letters.filter(self.condition())
        # Wrapped, so that no database prefers the index of a filter to the few ids.
        return letters.alias(fits=fits(self._filters())).filter(pk__in=found, fits=True)

    def _by_filters(self, letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        leading, *others = self._equal() or [Q()]
        if not others or connections[letters.db].vendor != "sqlite":
            return letters.filter(self._filters())
        # Without statistics SQLite takes any index for as good as another, and half of all letters are open.
        rest = Q()
        for part in others:
            rest &= part
        return letters.filter(leading & self._period()).alias(fits=fits(rest)).filter(fits=True)

    def _filters(self) -> Q:
        condition = self._period()
        for part in self._equal():
            condition &= part
        return condition

    def _equal(self) -> list[Q]:
        """Return the conditions that ask for one value, the one that tells most first."""
        parts = []
        if self.domain:
            parts.append(Q(recipient_domain=self.domain))
        if self.email_type:
            parts.append(Q(email_type="" if self.email_type == NO_MAIL else self.email_type))
        if self.smtp_code:
            # Three digits: PostgreSQL refuses a number that its column cannot hold.
            parts.append(Q(smtp_code=int(self.smtp_code)) if re.fullmatch("[0-9]{3}", self.smtp_code) else NOTHING)
        if self.verdict:
            parts.append(Q(verdict=self.verdict))
        if self.reason:
            parts.append(Q(reason=self.reason))
        if self.status:
            parts.append(Q(status=self.status))
        return parts

    def _period(self) -> Q:
        condition = Q()
        if self.since:
            condition &= Q(died_at__gte=parse_datetime(self.since))
        if self.until:
            condition &= Q(died_at__lte=parse_datetime(self.until))
        return condition

    def _sought(self) -> list[tuple[str, str]]:
        """Return the columns that are searched, with what each begins with."""
        # PostgreSQL refuses NUL, and no column holds it.
        term = self.search.replace("\0", "\N{SYMBOL FOR NULL}")
        sought = [("recipient_key", term.lower()), ("job_id", term), ("error_key", text_key(term))]
        # The list shows "Refused: 550 no such mailbox", and people copy what they see.
        kind, colon, message = term.partition(": ")
        if colon and message.strip() and re.fullmatch(r"\w+", kind):
            sought.append(("error_key", text_key(message)))
        return sought

    def _found(self, using: str) -> list[str] | None:
        """Return the ids of the letters that the search finds, or None when they are too many."""
        found: set[str] = set()
        for field, text in self._sought():
            rows = DeadLetter.objects.using(using).filter(begins(field, text, using=using))
            found.update(rows.values_list("pk", flat=True)[: PROBE + 1])
        return sorted(found) if len(found) <= PROBE else None


def fits(condition: Q) -> Any:
    """Return the condition as a value, which a database computes for a row and seeks by no index."""
    if not condition:
        return Value(value=True)
    return Case(When(condition, then=Value(value=True)), default=Value(value=False))
