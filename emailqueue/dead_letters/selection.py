"""Which dead letters a filter and a search select: the same for the list, for an export and for a bulk action."""

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import reduce
from typing import Any, Self

from django.db import connections
from django.db.models import Case, Q, QuerySet, Value, When
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from emailqueue.models import DeadLetter
from emailqueue.models.fields import begins, text_key

PROBE = 1000
"""Matches of a search that are looked up by their ids; above, the list is read in its order until a page is full."""

COLUMNS = ("recipient_domain", "email_type", "smtp_code", "verdict", "reason", "status")
"""What is filtered by one exact value, the most telling column first."""
AGES = {
    "hour": (timedelta(hours=1), _("the last hour")),
    "day": (timedelta(days=1), _("the last 24 hours")),
    "week": (timedelta(days=7), _("the last 7 days")),
    "month": (timedelta(days=30), _("the last 30 days")),
}
PARAMETERS = {"died", *(f"{name}__exact" for name in COLUMNS)}
"""All filters, as the address of the list names them."""
NO_MAIL = "-"
"""Value of the type for jobs that are no mails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter and a search. Empty fields select all."""

    status: str = ""
    reason: str = ""
    verdict: str = ""
    smtp_code: str = ""
    email_type: str = ""
    recipient_domain: str = ""
    since: str = ""
    """ISO time: died then or later."""

    until: str = ""
    """ISO time: died then or earlier."""

    search: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read the query of the list's address, and ignore whatever else stands there."""
        age = AGES.get(query.get("died", ""))
        return cls(
            **{name: query.get(f"{name}__exact", "").strip() for name in COLUMNS},
            since=(timezone.now() - age[0]).isoformat() if age else "",
            search=query.get("q", "").strip(),
        )

    def as_json(self) -> dict[str, str]:
        """Return the fields that are set."""
        return {name: value for name, value in asdict(self).items() if value}

    def describe(self) -> list[tuple[str, str]]:
        """Return what it selects, for people: pairs of label and value."""
        described: list[tuple[Any, Any]] = [
            *(_describe(name, value) for name in reversed(COLUMNS) if (value := getattr(self, name))),
            (_("since"), self.since[:16].replace("T", " ")),
            (_("search"), self.search),
        ]
        return [(str(label), str(value)) for label, value in described if value]

    def __str__(self) -> str:
        return "; ".join(f"{label}: {value}" for label, value in self.describe())

    def condition(self) -> Q:
        """Return the condition for one dead letter; the search in a form that no index serves."""
        found = [Q(**{f"{field}__startswith": text}) for field, text in self._sought()] if self.search else []
        return self._filters() & reduce(operator.or_, found, Q())

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
        leading, *others = self._exact() or [Q()]
        if not others or connections[letters.db].vendor != "sqlite":
            return letters.filter(self._filters())
        # Without statistics SQLite takes any index for as good as another, and half of all dead letters are open.
        return letters.filter(leading & self._period()).alias(fits=fits(_all(others))).filter(fits=True)

    def _filters(self) -> Q:
        return _all([self._period(), *self._exact()])

    def _exact(self) -> list[Q]:
        return [_exactly(name, value) for name in COLUMNS if (value := getattr(self, name))]

    def _period(self) -> Q:
        bounds = {"gte": self.since, "lte": self.until}
        return Q(**{f"dead_lettered_at__{bound}": parse_datetime(time) for bound, time in bounds.items() if time})

    def _sought(self) -> list[tuple[str, str]]:
        """Return the columns that are searched, and what each has to begin with."""
        # PostgreSQL refuses NUL, and no column holds it.
        term = self.search.replace("\0", "\N{SYMBOL FOR NULL}")
        sought = [("recipient_key", term.lower()), ("job_id", term), ("error_key", text_key(term))]
        # The list shows "Refused: 550 no such mailbox", and people copy what they see.
        kind, colon, message = term.partition(": ")
        if colon and message.strip() and re.fullmatch(r"\w+", kind):
            sought.append(("error_key", text_key(message)))
        return sought

    def _found(self, using: str) -> list[str] | None:
        """Return the ids that the search finds, or None when they are too many."""
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


def _exactly(name: str, value: str) -> Q:
    # Three digits: PostgreSQL refuses a number that its column cannot hold.
    if name == "smtp_code" and not re.fullmatch("[0-9]{3}", value):
        return Q(pk__in=())
    if name == "email_type" and value == NO_MAIL:
        return Q(email_type="")
    return Q(**{name: value.lower() if name == "recipient_domain" else value})


def _all(conditions: Iterable[Q]) -> Q:
    return reduce(operator.and_, conditions, Q())


def _describe(name: str, value: str) -> tuple[Any, Any]:
    field: Any = DeadLetter._meta.get_field(name)  # noqa: SLF001 - public by its docs
    names = {**dict(field.flatchoices), NO_MAIL: _("no mail")}
    return field.verbose_name, names.get(value, value)
