"""What is done to one letter, from its page."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from emailqueue.admin import several_dead_letters as several
from emailqueue.admin.dead_letter_page import address_of
from emailqueue.admin.forms import EditForm, ReasonForm
from emailqueue.dead_letters import actions as verbs
from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.preview import differences, is_stale, render_now
from emailqueue.dead_letters.sandbox import sealed
from emailqueue.errors import EmailQueueError
from emailqueue.models import DeadLetter, Status

LetterAdmin = Any


def retry(letters_admin: LetterAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    """Retry the letter as it is; ask before when it is out of date."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    choice = request.POST.get("stale")
    if letter.status == Status.OPEN and is_stale(letter) and choice != "too":
        return several.ask_about_stale(letters_admin, request, [letter], hidden=[])
    several.retry_each(request, [letter])
    return HttpResponseRedirect(address_of(letter))


def edit(letters_admin: LetterAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    """Ask what to change, then retry the letter with it."""
    if letter.status != Status.OPEN or not letter.email_type or not letter.arguments:
        messages.error(request, gettext("Only an open letter of an e-mail can be edited."))
        return HttpResponseRedirect(address_of(letter))
    may_read = may(request.user, "view_body")
    stale = is_stale(letter)
    form = EditForm(letter, request.POST if request.method == "POST" else None, may_view_body=may_read, stale=stale)
    if form.is_valid():
        try:
            verbs.retry(letter, user_pk=request.user.pk, edits=form.edits())
        except EmailQueueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, gettext("The letter is being retried."))
            return HttpResponseRedirect(address_of(letter))
    mail = render_now(letter) if stale and may_read else None
    context = {
        "title": _("Retry with edits"),
        "form": form,
        "letter": letter,
        "stale": stale,
        "lines": differences(letter, mail) if mail else None,
    }
    return several.page(letters_admin, request, "edit", context)


def discard(letters_admin: LetterAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    """Ask for a reason, then discard the letter."""
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return several.ask_for_reason(letters_admin, request, form, [letter], hidden=[])
    several.discard_each(request, [letter], form.cleaned_data["reason"])
    return HttpResponseRedirect(address_of(letter))


def preview(_letters_admin: LetterAdmin, _request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    """Return the HTML of the mail as it would go out now, for a frame."""
    return sealed(render_now(letter).html)
