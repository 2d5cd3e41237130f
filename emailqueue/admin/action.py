"""How an action on dead letters runs: on one, at once on a selection, or in the background on all that match."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from emailqueue.admin.base import AT_ONCE, QueueAdmin
from emailqueue.dead_letters import bulk
from emailqueue.dead_letters.actions import ACTIONS
from emailqueue.dead_letters.counting import BoundedPaginator
from emailqueue.dead_letters.selection import Selection
from emailqueue.errors import EmailQueueError
from emailqueue.models import DeadLetter, Status

Letters = QuerySet[DeadLetter]
Question = dict[str, Any] | None
"""What the action's template shows while something has to be asked; None once the action is done."""


class DeadLetterAction(ABC):
    """One action. Its address, its template and its function in emailqueue.dead_letters.actions have its name."""

    name: str
    permission: str
    button: Any
    """Its label on the page of a dead letter."""

    asks = True
    """Whether the button leads to a page. Otherwise it is pressed at once."""

    done: Any
    """What is said afterwards of %(count)d dead letters."""

    label: Any = ""
    """Its name in the list; empty: it is not there."""

    bulk_title: Any = ""
    bulk_form: type[forms.Form] = forms.Form
    """What is asked before it is done to all that match."""

    def is_offered(self, letter: DeadLetter) -> bool:
        """Return whether the page of a dead letter has the button."""
        return letter.status == Status.OPEN

    @abstractmethod
    def run(self, request: HttpRequest, letters: Sequence[DeadLetter]) -> Question:
        """Change the dead letters, unless there is a question."""

    def warning(self, selection: Selection) -> Any:
        """Return what to consider before it is done to all that match."""
        return ""

    def on_one(self, site: QueueAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
        """Answer the button."""
        if not self.asks and request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if question := self.run(request, [letter]):
            return site.page(request, self.name, **{"dead_letter": letter, "dead_letters": [letter], **question})
        return redirect(address_of(letter.pk))

    def on_selection(self, site: QueueAdmin, request: HttpRequest, letters: Letters) -> HttpResponse | None:
        """Answer the list, for what was selected when it was asked."""
        if all_that_match(request):
            return self._on_all(site, request, letters)
        chosen = _chosen(site, request, letters)
        if question := chosen and self.run(request, chosen):
            hidden = _hidden(request, chosen)
            return site.page(request, self.name, **{"dead_letters": chosen, "hidden": hidden, **question})
        return None

    def as_list_action(self) -> Any:
        """Return it as Django takes an action of the list."""
        action: Any = admin.action(partial(self.on_selection), permissions=[self.permission], description=self.label)
        action.__name__ = self.name
        return action

    def change(self, request: HttpRequest, letters: Sequence[DeadLetter], **options: Any) -> None:
        """Change each dead letter in a transaction of its own, and say what came of it."""
        errors: list[EmailQueueError] = []
        for letter in letters:
            try:
                ACTIONS[self.name](letter, user_pk=request.user.pk, **options)
            except EmailQueueError as error:
                errors.append(error)
        if errors:
            text = ngettext(
                "%(count)d dead letter was not changed: %(error)s",
                "%(count)d dead letters were not changed. The first: %(error)s",
                len(errors),
            )
            messages.error(request, text % {"count": len(errors), "error": errors[0]})
        if changed := len(letters) - len(errors):
            messages.success(request, self.done % {"count": changed})

    def _on_all(self, site: QueueAdmin, request: HttpRequest, letters: Letters) -> HttpResponse:
        """Show what would be started, then start it."""
        form = self.bulk_form(request.POST if "confirmed" in request.POST else None)
        selection = Selection.parse(request.GET.dict())
        if form.is_valid():
            started = bulk.start(self.name, selection, user=request.user, **form.cleaned_data)
            return redirect("admin:emailqueue_bulkaction_change", started.pk)
        context = {
            "title": self.bulk_title,
            "form": form,
            "selection": selection.describe(),
            "warning": self.warning(selection),
            "found": BoundedPaginator(letters, 1).described,
            "hidden": [*_hidden(request, ()), ("confirmed", "1")],
        }
        return site.page(request, "bulk", **context)


def address_of(pk: str) -> str:
    return reverse("admin:emailqueue_deadletter_change", args=[pk])


def all_that_match(request: HttpRequest) -> bool:
    """Return whether the selection is the whole of a filter, and not only what the page shows."""
    return request.POST.get("select_across") == "1"


def _chosen(site: QueueAdmin, request: HttpRequest, letters: Letters) -> list[DeadLetter]:
    """Return the dead letters that were selected, whole, and in the order of the list."""
    ids = request.POST.get("letters", "").split() or list(letters.values_list("pk", flat=True)[: AT_ONCE + 1])
    if len(ids) > AT_ONCE:
        text = gettext("At most %(most)d dead letters are changed at once. Select fewer, or all that match a filter.")
        messages.error(request, text % {"most": AT_ONCE})
        return []
    return list(site.get_queryset(request).filter(pk__in=ids).order_by("-dead_lettered_at", "pk"))


def _hidden(request: HttpRequest, letters: Sequence[DeadLetter]) -> list[tuple[str, str]]:
    """Return the fields by which the answer to a question gets back to the list."""
    names = ("action", "select_across", ACTION_CHECKBOX_NAME)
    posted = [(name, value) for name in names for value in request.POST.getlist(name)]
    # One field for all: Django refuses a form of more than 1,000 fields.
    return [*posted, ("letters", " ".join(letter.pk for letter in letters))]
