"""The filters beside the list. What they select is said in selection.py; here is what they offer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.admin import ListFilter, SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from emailqueue.dead_letters.selection import AGES, NO_MAIL
from emailqueue.email_types import email_types
from emailqueue.mail.messages import MESSAGE
from emailqueue.models import DeadLetter, Reason, Status
from emailqueue.verdict.judge import Action

if TYPE_CHECKING:
    LetterAdmin = Any


class ChoiceFilter(SimpleListFilter):
    """Offers fixed values, none of which is looked for in the table."""

    offered: Iterable[tuple[str, Any]] = ()

    def lookups(self, request: HttpRequest, model_admin: LetterAdmin) -> list[tuple[str, Any]]:
        """Return the values, among them the one that is set, whatever it is."""
        offered = list(self.offered)
        value = self.value()
        if value and value not in dict(offered):
            offered.append((value, value))
        return offered

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Return all: the selection narrows them, together with the search."""
        return queryset


class StatusFilter(ChoiceFilter):
    """What has become of the letter."""

    title = _("status")
    parameter_name = "status__exact"
    offered = Status.choices


class ReasonFilter(ChoiceFilter):
    """Why the letter died."""

    title = _("reason")
    parameter_name = "reason__exact"
    offered = Reason.choices


class VerdictFilter(ChoiceFilter):
    """What was done about the last attempt."""

    title = _("verdict")
    parameter_name = "verdict__exact"
    offered = Action.choices


class AgeFilter(ChoiceFilter):
    """How long ago the letter died."""

    title = _("time")
    parameter_name = "died"
    offered = [(name, words) for name, (_age, words) in AGES.items()]


class TypeFilter(ChoiceFilter):
    """The e-mail type, as registered: reading them from the table would read all of it."""

    title = _("type")
    parameter_name = "email_type__exact"

    def lookups(self, request: HttpRequest, model_admin: LetterAdmin) -> list[tuple[str, Any]]:
        """Return the registered types."""
        self.offered = [*((name, name) for name in [*email_types(), MESSAGE]), (NO_MAIL, _("no mail"))]
        return super().lookups(request, model_admin)


class TextFilter(ListFilter):
    """Asks for one exact value."""

    template = "admin/emailqueue/deadletter/text_filter.html"
    parameter_name = ""
    example = ""

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[DeadLetter], model_admin: LetterAdmin
    ) -> None:
        super().__init__(request, params, model, model_admin)
        values = params.pop(self.parameter_name, None)
        if values:
            self.used_parameters[self.parameter_name] = values[-1]

    def has_output(self) -> bool:
        """Return whether it is shown: always."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """Return its name in the address."""
        return [self.parameter_name]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return what its form needs: the value, and the other parameters of the address."""
        others = {name: value for name, value in changelist.params.items() if name != self.parameter_name}
        yield {
            "selected": bool(self.used_parameters),
            "name": self.parameter_name,
            "value": self.used_parameters.get(self.parameter_name, ""),
            "example": self.example,
            "others": others.items(),
            "without": changelist.get_query_string(remove=[self.parameter_name]),
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Return all, as the other filters do."""
        return queryset


class CodeFilter(TextFilter):
    """The SMTP code of the last attempt."""

    title = _("SMTP code")
    parameter_name = "smtp_code__exact"
    example = "550"


class DomainFilter(TextFilter):
    """The domain of the recipient."""

    title = _("recipient's domain")
    parameter_name = "recipient_domain__exact"
    example = "example.com"


FILTERS: list[Any] = [StatusFilter, ReasonFilter, VerdictFilter, AgeFilter, TypeFilter, CodeFilter, DomainFilter]
"""All, in the order in which they are offered."""
