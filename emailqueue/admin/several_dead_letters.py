"""What is done to a selection of letters: at once to those on a page, by a worker to all that match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from emailqueue.admin.forms import BulkForm, ReasonForm
from emailqueue.dead_letters import actions as verbs
from emailqueue.dead_letters import bulk as bulk_run
from emailqueue.dead_letters.counting import BoundedPaginator
from emailqueue.dead_letters.export import export_csv, export_json
from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.preview import differences, is_stale, render_now
from emailqueue.dead_letters.selection import Selection, fits
from emailqueue.errors import EmailQueueError
from emailqueue.models import DeadLetter, Reason

Letters = QuerySet[DeadLetter]
LetterAdmin = Any

MOST = 1000
"""Letters that one request changes."""
SHOWN = 5
"""Mails of which a page shows what is different now."""


def retry(letters_admin: LetterAdmin, request: HttpRequest, letters: Letters) -> HttpResponse | None:
    """Retry a selection; ask before mails that are out of date."""
    if _all_that_match(request):
        return _in_bulk(letters_admin, request, letters, verb="retry")
    chosen = _chosen(letters_admin, request, letters)
    stale = [letter for letter in chosen if is_stale(letter)]
    choice = request.POST.get("stale")
    if stale and choice not in ("too", "not"):
        return ask_about_stale(letters_admin, request, stale, hidden=_hidden(request, "retry", chosen))
    if choice == "not":
        chosen = [letter for letter in chosen if letter not in stale]
    retry_each(request, chosen)
    return None


def discard(letters_admin: LetterAdmin, request: HttpRequest, letters: Letters) -> HttpResponse | None:
    """Ask for a reason, then discard what was selected when it was asked."""
    if _all_that_match(request):
        return _in_bulk(letters_admin, request, letters, verb="discard")
    chosen = _chosen(letters_admin, request, letters)
    if not chosen:
        return None
    form = ReasonForm(request.POST if "reason" in request.POST else None)
    if form.is_valid():
        discard_each(request, chosen, form.cleaned_data["reason"])
        return None
    return ask_for_reason(letters_admin, request, form, chosen, hidden=_hidden(request, "discard", chosen))


def export(request: HttpRequest, *, form: str) -> HttpResponseBase:
    """Return the selection as a file, and note who took it."""
    selection = Selection.parse(request.GET.dict())
    if _all_that_match(request):
        chosen = DeadLetter.objects.alias(fits=fits(selection.condition())).filter(fits=True)
        about = "; ".join(f"{label}: {value}" for label, value in selection.words()) or gettext("all dead letters")
    else:
        ids = request.POST.getlist(ACTION_CHECKBOX_NAME)[:MOST]
        chosen = DeadLetter.objects.filter(pk__in=ids)
        about = ngettext("%(count)d dead letter", "%(count)d dead letters", len(ids)) % {"count": len(ids)}
    verbs.record(request.user.pk, gettext("Exported as %(form)s.") % {"form": form}, about=about)
    if form == "CSV":
        return export_csv(chosen)
    return export_json(chosen, with_body=may(request.user, "view_body"))


def retry_each(request: HttpRequest, letters: Sequence[DeadLetter]) -> None:
    """Retry letters and tell what came of it."""
    done = _each(request, letters, lambda letter: verbs.retry(letter, user_pk=request.user.pk))
    if done:
        text = ngettext("%(count)d letter is being retried.", "%(count)d letters are being retried.", done)
        messages.success(request, text % {"count": done})


def discard_each(request: HttpRequest, letters: Sequence[DeadLetter], reason: str) -> None:
    """Discard letters and tell what came of it."""
    done = _each(request, letters, lambda letter: verbs.discard(letter, user_pk=request.user.pk, reason=reason))
    if done:
        text = ngettext("%(count)d letter was discarded.", "%(count)d letters were discarded.", done)
        messages.success(request, text % {"count": done})


def ask_for_reason(
    letters_admin: LetterAdmin,
    request: HttpRequest,
    form: ReasonForm,
    letters: Sequence[DeadLetter],
    *,
    hidden: Sequence[tuple[str, str]],
) -> TemplateResponse:
    """Return the page that asks why."""
    context = {
        "title": _("Discard dead letters"),
        "form": form,
        "letter": _single(letters, hidden),
        "letters": letters,
        "hidden": hidden,
    }
    return page(letters_admin, request, "discard", context)


def ask_about_stale(
    letters_admin: LetterAdmin,
    request: HttpRequest,
    letters: Sequence[DeadLetter],
    *,
    hidden: Sequence[tuple[str, str]],
) -> TemplateResponse:
    """Return the page that asks whether mails that are out of date shall go out."""
    may_read = may(request.user, "view_body")
    shown = [
        {"letter": letter, "mail": mail, "lines": differences(letter, mail) if may_read else None}
        for letter in letters[:SHOWN]
        for mail in [render_now(letter)]
    ]
    context = {
        "title": _("Out of date"),
        "letter": _single(letters, hidden),
        "letters": letters,
        "shown": shown,
        "more": len(letters) - len(shown),
        "may_read": may_read,
        "several": ("action", "retry") in hidden,
        "hidden": hidden,
    }
    return page(letters_admin, request, "stale", context)


def page(letters_admin: LetterAdmin, request: HttpRequest, name: str, context: dict[str, Any]) -> TemplateResponse:
    """Return a page of the admin that asks something."""
    common = {
        **letters_admin.admin_site.each_context(request),
        "opts": letters_admin.opts,
        "media": letters_admin.media,
    }
    return TemplateResponse(request, f"admin/emailqueue/deadletter/{name}.html", {**common, **context})


def _single(letters: Sequence[DeadLetter], hidden: Sequence[tuple[str, str]]) -> DeadLetter | None:
    """Return the letter from whose page this is done; a list has fields to hand on."""
    return None if hidden else letters[0]


def _all_that_match(request: HttpRequest) -> bool:
    return request.POST.get("select_across") == "1"


def _in_bulk(letters_admin: LetterAdmin, request: HttpRequest, letters: Letters, *, verb: str) -> HttpResponse:
    """Show what would be begun, then begin it."""
    form_class = ReasonForm if verb == "discard" else BulkForm
    confirmed = "confirmed" in request.POST
    form = form_class(request.POST if confirmed else None)
    selection = Selection.parse(request.GET.dict())
    if confirmed and form.is_valid():
        bulk = bulk_run.start(verb, selection, user=request.user, **form.cleaned_data)
        return HttpResponseRedirect(reverse("admin:emailqueue_bulkaction_change", args=[bulk.pk]))
    context = {
        "title": _("Retry all that match") if verb == "retry" else _("Discard all that match"),
        "verb": verb,
        "form": form,
        "words": selection.words(),
        "maybe_sent": verb == "retry" and selection.reason in ("", Reason.AMBIGUOUS),
        "told": BoundedPaginator(letters, 1).told,
        "hidden": [*_hidden(request, verb, ()), ("confirmed", "1")],
    }
    return page(letters_admin, request, "bulk", context)


def _chosen(letters_admin: LetterAdmin, request: HttpRequest, letters: Letters) -> list[DeadLetter]:
    """Return the letters that were selected, whole, and in the order of the list."""
    ids = request.POST.get("letters", "").split() or list(letters.values_list("pk", flat=True)[: MOST + 1])
    if len(ids) > MOST:
        text = _("At most %(most)d letters are taken at once. Select fewer, or all that match a filter.")
        messages.error(request, text % {"most": MOST})
        return []
    return list(letters_admin.get_queryset(request).filter(pk__in=ids).order_by("-died_at", "pk"))


def _hidden(request: HttpRequest, action: str, letters: Sequence[DeadLetter]) -> list[tuple[str, str]]:
    return [
        ("action", action),
        ("select_across", request.POST.get("select_across", "0")),
        # One field for all: Django refuses a form of more than 1,000 fields.
        ("letters", " ".join(letter.pk for letter in letters)),
        *((ACTION_CHECKBOX_NAME, pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)),
    ]


def _each(request: HttpRequest, letters: Sequence[DeadLetter], change: Callable[[DeadLetter], object]) -> int:
    """Change each letter in a transaction of its own; tell about those that refuse, count the others."""
    errors: list[EmailQueueError] = []
    for letter in letters:
        try:
            change(letter)
        except EmailQueueError as error:
            errors.append(error)
    if errors:
        text = ngettext(
            "%(count)d letter was left as it is: %(error)s",
            "%(count)d letters were left as they are. The first: %(error)s",
            len(errors),
        )
        messages.error(request, text % {"count": len(errors), "error": errors[0]})
    return len(letters) - len(errors)
