"""The actions on dead letters: what each asks, and what it says."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from emailqueue.admin.action import DeadLetterAction, Question
from emailqueue.admin.forms import BulkRetryForm, EditForm, ReasonForm
from emailqueue.dead_letters import actions
from emailqueue.dead_letters.actions import may
from emailqueue.dead_letters.preview import differences, is_stale, render_now
from emailqueue.dead_letters.selection import Selection
from emailqueue.errors import EmailQueueError, InvalidAddress, InvalidContext
from emailqueue.models import DeadLetter, Reason

SHOWN = 5
"""Mails of which a page shows what is different now."""


class Retry(DeadLetterAction):
    """Send the mail again as it is, after a question where it is out of date."""

    name = permission = "retry"
    button = _("Retry")
    asks = False
    done = ngettext_lazy(
        "%(count)d dead letter is being retried.", "%(count)d dead letters are being retried.", "count"
    )
    label = _("Retry selected dead letters")
    bulk_title = _("Retry all that match")
    bulk_form = BulkRetryForm

    def is_offered(self, letter: DeadLetter) -> bool:
        return super().is_offered(letter) and letter.arguments is not None

    def run(self, request: HttpRequest, letters: Sequence[DeadLetter]) -> Question:
        stale = [letter for letter in letters if is_stale(letter)]
        choice = request.POST.get("stale")
        if stale and choice not in ("too", "not"):
            compared = [(letter, _differences(request, letter)) for letter in stale[:SHOWN]]
            shown = {"compared": compared, "more": len(stale) - SHOWN, "may_read": may(request.user, "view_body")}
            return {"title": _("Out of date"), "dead_letters": stale, **shown}
        if choice == "not":
            letters = [letter for letter in letters if letter not in stale]
        self.change(request, letters, stale_too=True)
        return None

    def warning(self, selection: Selection) -> Any:
        if selection.reason not in ("", Reason.AMBIGUOUS):
            return ""
        return _("Mails that may have been sent already may arrive twice. To leave them out, filter by reason.")


class Edit(DeadLetterAction):
    """Send the mail again with another recipient, context or priority."""

    name = "edit"
    permission = "retry"
    button = _("Retry with edits…")

    def is_offered(self, letter: DeadLetter) -> bool:
        return super().is_offered(letter) and bool(letter.email_type and letter.arguments)

    def run(self, request: HttpRequest, letters: Sequence[DeadLetter]) -> Question:
        [letter] = letters
        if not self.is_offered(letter):
            messages.error(request, gettext("Only an open dead letter of an e-mail can be edited."))
            return None
        content = request.POST if request.method == "POST" else None
        stale, may_view_body = is_stale(letter), may(request.user, "view_body")
        form = EditForm(letter, content, may_view_body=may_view_body, stale=stale)
        if form.is_valid() and _retried(request, letter, form):
            return None
        lines = _differences(request, letter) if stale else None
        return {"title": _("Retry with edits"), "form": form, "stale": stale, "lines": lines}


class Discard(DeadLetterAction):
    """Close the dead letter for a reason."""

    name = permission = "discard"
    button = _("Discard…")
    done = ngettext_lazy("%(count)d dead letter was discarded.", "%(count)d dead letters were discarded.", "count")
    label = _("Discard selected dead letters")
    bulk_title = _("Discard all that match")
    bulk_form = ReasonForm

    def run(self, request: HttpRequest, letters: Sequence[DeadLetter]) -> Question:
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if not form.is_valid():
            return {"title": _("Discard dead letters"), "form": form}
        self.change(request, letters, **form.cleaned_data)
        return None


ACTIONS = (Retry(), Edit(), Discard())
"""All, in the order of their buttons."""


def _retried(request: HttpRequest, letter: DeadLetter, form: EditForm) -> bool:
    """Retry the dead letter, or put what is wrong at its field."""
    try:
        actions.retry(letter, user_pk=request.user.pk, edits=form.edits(), stale_too=True)
    except EmailQueueError as error:
        field = "to" if isinstance(error, InvalidAddress) else "context" if isinstance(error, InvalidContext) else None
        form.add_error(field if field in form.fields else None, str(error))
        return False
    messages.success(request, gettext("The dead letter is being retried."))
    return True


def _differences(request: HttpRequest, letter: DeadLetter) -> list[str] | None:
    return differences(letter, render_now(letter)) if may(request.user, "view_body") else None
