"""The filters beside the list, and what they offer. What they select, Selection says."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin import ChoicesFieldListFilter, FieldListFilter, SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from emailqueue.dead_letters.selection import AGES, NO_MAIL
from emailqueue.email_types import email_types
from emailqueue.mail.messages import MESSAGE
from emailqueue.models import DeadLetter


class _LeftToSelection:
    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Return all: the selection narrows them, together with the search."""
        return queryset


class ColumnFilter(_LeftToSelection, ChoicesFieldListFilter):
    """Offers the choices of a column."""


class TextFilter(_LeftToSelection, FieldListFilter):
    """Asks for one exact value of a column."""

    template = "admin/emailqueue/deadletter/text_filter.html"
    examples = {"smtp_code": "550", "recipient_domain": "example.com"}

    def expected_parameters(self) -> list[str | None]:
        return [f"{self.field_path}__exact"]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return what its form needs: the value, and the other parameters of the address."""
        name = f"{self.field_path}__exact"
        yield {
            "name": name,
            "value": changelist.params.get(name, ""),
            "example": self.examples[self.field_path],
            "others": [(other, value) for other, value in changelist.params.items() if other != name],
            "without": changelist.get_query_string(remove=[name]),
        }


class AgeFilter(_LeftToSelection, SimpleListFilter):
    title = _("age")
    parameter_name = "died"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, period) for name, (_age, period) in AGES.items()]


class TypeFilter(_LeftToSelection, SimpleListFilter):
    """The e-mail types, as registered: to read them from the table would read all of it."""

    title = _("e-mail type")
    parameter_name = "email_type__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Return the registered types, and the one that is set, which may not be registered any more."""
        names = dict.fromkeys([*email_types(), MESSAGE, NO_MAIL, self.value() or NO_MAIL])
        return [(name, _("no mail") if name == NO_MAIL else name) for name in names]


FILTERS: list[Any] = [
    ("status", ColumnFilter),
    ("reason", ColumnFilter),
    ("verdict", ColumnFilter),
    AgeFilter,
    TypeFilter,
    ("smtp_code", TextFilter),
    ("recipient_domain", TextFilter),
]
