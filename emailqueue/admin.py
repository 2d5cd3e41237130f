"""What staff see of dead letters, and how they retry or discard them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from emailqueue.errors import EmailQueueError
from emailqueue.models import DeadLetter, Reason, Status
from emailqueue.verdict import sentence

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[DeadLetter]
else:
    ModelAdmin = admin.ModelAdmin

MOST = 1000
"""Letters that one action takes."""

STORIES = {
    Reason.PERMANENT: _("Try %(tries)d of %(allowed)d was refused for good, so no other followed."),
    Reason.EXHAUSTED: _("All tries failed: %(tries)d of %(allowed)d."),
    Reason.AMBIGUOUS: _("It may have been delivered: contact was lost while it was being sent."),
    Reason.CRASHED: _("Its workers died while they had it, so it is given to no other."),
    Reason.MALFORMED: _("The job could not be read or calls an unknown function, so nothing was run."),
}


class ReasonForm(forms.Form):
    """Asks why letters are discarded."""

    reason = forms.CharField(
        label=_("Reason"), max_length=500, widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True})
    )


@admin.register(DeadLetter)
class DeadLetterAdmin(ModelAdmin):
    """Read-only; retry and discard are actions with permissions of their own."""

    actions = ["retry", "discard"]
    list_display = ["addressee", "label", "priority", "reason", "error", "smtp_code", "tries", "died_at", "status"]
    list_filter = ["status", "reason", "email_type"]
    ordering = ["-died_at", "pk"]
    search_fields = ["recipient__istartswith", "job_id__startswith"]
    search_help_text = _("Beginning of a recipient's address or of a job id")
    show_full_result_count = False
    fieldsets = [
        (
            None,
            {"fields": ["status", "discard_reason", "closed_at", "retried_job_id", "edits_of_the_retry", "redrives"]},
        ),
        (_("Job"), {"fields": ["job_id", "label", "recipient", "queue", "function", "created_at", "died_at"]}),
        (_("Original content"), {"fields": ["original", "raw"]}),
        (_("Tries"), {"fields": ["tries", "attempts_allowed", "waits"]}),
    ]

    @admin.display(description=_("recipient"), ordering="recipient")
    def addressee(self, letter: DeadLetter) -> str:
        """Return the address; a letter without one needs something to click on, too."""
        return letter.recipient or "-"

    @admin.display(description=_("error"))
    def error(self, letter: DeadLetter) -> str:
        """Return the last error in a few words."""
        kind = letter.error_class.rpartition(".")[2]
        return Truncator(": ".join(filter(None, [kind, letter.message]))).chars(80)

    @admin.display(description=_("original content"))
    def original(self, letter: DeadLetter) -> str:
        """Return the arguments of the job, laid out."""
        return _laid_out(letter.arguments)

    @admin.display(description=_("waits between tries"))
    def waits(self, letter: DeadLetter) -> str:
        """Return the backoff, laid out."""
        return _laid_out(letter.backoff)

    @admin.display(description=_("edits of the retry"))
    def edits_of_the_retry(self, letter: DeadLetter) -> str:
        """Return what a retry changed, laid out."""
        return _laid_out(letter.edits) if letter.edits else ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: DeadLetter | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: DeadLetter | None = None) -> bool:
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may retry letters."""
        return self.has_view_permission(request) and request.user.has_perm("emailqueue.retry_deadletter")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may discard letters."""
        return self.has_view_permission(request) and request.user.has_perm("emailqueue.discard_deadletter")

    def get_urls(self) -> list[URLPattern]:
        """Put the two verbs before Django's own addresses, whose last one takes everything."""
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/retry/", view(self.retry_view), name="emailqueue_deadletter_retry"),
            path("<path:object_id>/discard/", view(self.discard_view), name="emailqueue_deadletter_discard"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what the template shows beside the fields."""
        letter: DeadLetter = context["original"]
        context |= {
            "story": _story(letter),
            "attempts": letter.attempts.all(),
            "may_retry": letter.status == Status.OPEN and self.has_retry_permission(request),
            "may_discard": letter.status == Status.OPEN and self.has_discard_permission(request),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(permissions=["retry"], description=_("Retry selected dead letters"))
    def retry(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Retry the selection as it is."""
        if letters := self._bounded(request, queryset):
            self._retry(request, letters)

    @admin.action(permissions=["discard"], description=_("Discard selected dead letters"))
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Ask for a reason, then discard what was selected when it was asked."""
        if "letters" in request.POST:
            queryset = queryset.filter(pk__in=request.POST["letters"].split())
        letters = self._bounded(request, queryset)
        if not letters:
            return None
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if form.is_valid():
            self._discard(request, letters, form.cleaned_data["reason"])
            return None
        hidden = [
            ("action", "discard"),
            ("select_across", request.POST.get("select_across", "0")),
            # One field for all: Django refuses a form of more than 1,000 fields.
            ("letters", " ".join(letter.pk for letter in letters)),
            *((ACTION_CHECKBOX_NAME, pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)),
        ]
        return self._ask(request, form, letters, hidden=hidden)

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Retry one letter."""
        if not self.has_retry_permission(request):
            raise PermissionDenied
        letter = get_object_or_404(self.get_queryset(request), pk=unquote(object_id))
        self._retry(request, [letter])
        return HttpResponseRedirect(_page(letter))

    def discard_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a reason, then discard one letter."""
        if not self.has_discard_permission(request):
            raise PermissionDenied
        letter = get_object_or_404(self.get_queryset(request), pk=unquote(object_id))
        form = ReasonForm(request.POST or None)
        if not form.is_valid():
            return self._ask(request, form, [letter], hidden=[])
        self._discard(request, [letter], form.cleaned_data["reason"])
        return HttpResponseRedirect(_page(letter))

    def _bounded(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> list[DeadLetter]:
        letters = list(queryset[: MOST + 1])
        if len(letters) <= MOST:
            return letters
        text = _("At most %(most)d letters are taken at once. Select fewer, for example with a filter.")
        self.message_user(request, text % {"most": MOST}, messages.ERROR)
        return []

    def _retry(self, request: HttpRequest, letters: Sequence[DeadLetter]) -> None:
        done = self._each(request, letters, DeadLetter.retry, log="Retried.")
        if done:
            text = ngettext("%(count)d letter is being retried.", "%(count)d letters are being retried.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS)

    def _discard(self, request: HttpRequest, letters: Sequence[DeadLetter], reason: str) -> None:
        done = self._each(request, letters, lambda letter: letter.discard(reason), log=f"Discarded: {reason}")
        if done:
            text = ngettext("%(count)d letter was discarded.", "%(count)d letters were discarded.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS)

    def _each(
        self,
        request: HttpRequest,
        letters: Sequence[DeadLetter],
        change: Callable[[DeadLetter], object],
        *,
        log: str,
    ) -> int:
        """Change and log each letter in a transaction of its own; tell about those that refuse, count the others."""
        errors: list[EmailQueueError] = []
        for letter in letters:
            try:
                with transaction.atomic(using=router.db_for_write(DeadLetter)):
                    change(letter)
                    self.log_change(request, letter, log)
            except EmailQueueError as error:
                errors.append(error)
        if errors:
            text = ngettext(
                "%(count)d letter was left as it is: %(error)s",
                "%(count)d letters were left as they are. The first: %(error)s",
                len(errors),
            )
            self.message_user(request, text % {"count": len(errors), "error": errors[0]}, messages.ERROR)
        return len(letters) - len(errors)

    def _ask(
        self,
        request: HttpRequest,
        form: ReasonForm,
        letters: Sequence[DeadLetter],
        *,
        hidden: Sequence[tuple[str, str]],
    ) -> TemplateResponse:
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": _("Discard dead letters"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "letters": letters,
            "hidden": hidden,
        }
        return TemplateResponse(request, "admin/emailqueue/deadletter/discard.html", context)


def _page(letter: DeadLetter) -> str:
    return reverse("admin:emailqueue_deadletter_change", args=[letter.pk])


def _laid_out(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


def _story(letter: DeadLetter) -> str:
    """Return in a sentence or two what happened."""
    story = STORIES.get(Reason(letter.reason), "") if letter.reason in Reason else ""
    told = str(story) % {"tries": letter.tries, "allowed": letter.attempts_allowed}
    reply = f"{letter.smtp_code} {letter.smtp_reply}".strip() if letter.smtp_code else letter.smtp_reply
    what = reply or letter.message or letter.error_class
    return " ".join(filter(None, [told, what, sentence(letter.rule or letter.verdict)]))
