"""How many dead letters there are: exact while they are few, about when they are many."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db import connections
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from emailqueue.models import DeadLetter

EXACT = 10_000
"""Dead letters that are counted and can be paged through; a filter leads to the others."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts up to a bound, so that a page costs the same at ten dead letters and at a million."""

    object_list: Any

    @cached_property
    def counted(self) -> int:
        """How many there are, or one more than the bound."""
        return _bounded(self.object_list)

    @cached_property
    def count(self) -> int:
        """How many can be paged through."""
        return min(self.counted, EXACT)

    @cached_property
    def described(self) -> str:
        """How many there are, in words."""
        if self.counted <= EXACT:
            text = ngettext("%(count)s dead letter", "%(count)s dead letters", self.counted)
            return text % {"count": _formatted(self.counted)}
        numbers = {"most": _formatted(EXACT), "all": _formatted(table_size(self.object_list.db))}
        if self.object_list.query.where:
            return gettext("more than %(most)s of about %(all)s dead letters") % numbers
        return gettext("about %(all)s dead letters; the newest %(most)s can be paged through") % numbers


def table_size(using: str) -> int:
    """Return about how many dead letters there are, in constant time where the database can tell."""
    connection = connections[using]
    letters = DeadLetter.objects.using(using)
    estimate = ESTIMATES.get(connection.vendor)
    if estimate is None:
        return letters.count()
    with connection.cursor() as cursor:
        cursor.execute(estimate(connection.ops.quote_name(DeadLetter._meta.db_table)))  # noqa: SLF001 - public by its docs
        size = int(cursor.fetchone()[0] or 0)
    # While they are few the estimate is rough, or there is none yet, and counting is cheap.
    return size if size > EXACT else _bounded(letters)


def _bounded(letters: Any) -> int:
    return int(letters.order_by()[: EXACT + 1].count())


def _formatted(number: int) -> str:
    return number_format(number, force_grouping=True)


ESTIMATES: dict[str, Callable[[str], str]] = {
    # Rows are deleted by age, so that the row ids that are left lie close together.
    # Two sub-queries: SQLite looks up one end of an index, but scans for both.
    "sqlite": lambda table: f"SELECT (SELECT MAX(rowid) FROM {table}) - (SELECT MIN(rowid) FROM {table}) + 1",  # noqa: S608
    "postgresql": lambda table: f"SELECT reltuples::bigint FROM pg_class WHERE oid = '{table}'::regclass",  # noqa: S608
}
