"""What staff are asked before a verb."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from emailqueue.email_types import get_email_type
from emailqueue.errors import EmailQueueError, InvalidAddress, InvalidContext
from emailqueue.jobs.priority import Priority
from emailqueue.mail.edits import editable_of, edited_job, is_built
from emailqueue.mail.messages import MESSAGE
from emailqueue.models import DeadLetter


class ReasonForm(forms.Form):
    """Asks why letters are discarded."""

    reason = forms.CharField(
        label=_("Reason"), max_length=500, widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True})
    )


class BulkForm(forms.Form):
    """Asks whether letters that are out of date are retried, too."""

    stale_too = forms.BooleanField(
        label=_("Also retry mails that are out of date"),
        required=False,
        help_text=_("Their type says when a mail may no longer be true. Otherwise they are left as they are."),
    )


class IndentedJSON(json.JSONEncoder):
    """JSON as people edit it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2, "ensure_ascii": False})


class EditForm(forms.Form):
    """Asks what a retry changes; what it answers is checked as the queue checks a call."""

    to = forms.CharField(
        label=_("Recipient"),
        max_length=320,
        widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True, "autocomplete": "off"}),
    )
    context = forms.JSONField(
        label=_("Context"),
        encoder=IndentedJSON,
        widget=forms.Textarea(attrs={"class": "vLargeTextField", "rows": 12, "spellcheck": "false"}),
        help_text=_("JSON, as the e-mail type takes it."),
    )
    priority = forms.TypedChoiceField(
        label=_("Priority"),
        coerce=int,
        choices=[(priority.value, priority.name.lower()) for priority in Priority],
    )

    stale = forms.BooleanField(label=_("Retry it although it is out of date"))

    def __init__(
        self, letter: DeadLetter, content: Mapping[str, Any] | None = None, *, may_view_body: bool, stale: bool
    ) -> None:
        self.letter = letter
        arguments = letter.arguments if isinstance(letter.arguments, dict) else {}
        self.context_now = arguments.get("context")
        initial = {"to": arguments.get("to"), "context": self.context_now, "priority": letter.priority}
        super().__init__(content, initial=initial)
        self.is_message = letter.email_type == MESSAGE
        if self.is_message and "to" not in editable_of(arguments):
            del self.fields["to"]
        elif self.is_message and is_built(arguments):
            self.fields["to"].help_text = _("The mail was built by its sender, so it still names the old recipient.")
        if not may_view_body or self.is_message:
            del self.fields["context"]
        if not stale:
            del self.fields["stale"]

    def edits(self) -> dict[str, Any]:
        """Return what DeadLetter.retry() takes; it finds out what differs."""
        return {name: self.cleaned_data[name] for name in ("to", "context", "priority") if name in self.cleaned_data}

    def clean(self) -> dict[str, Any]:
        """Make the job that would be queued, and tell at which field it fails."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        context: Any = cleaned.get("context", self.context_now)
        try:
            if self.is_message:
                now = self.letter.arguments or {}
                edited_job(now, cleaned.get("to", now.get("to")), priority=cleaned["priority"])
            else:
                email_type = get_email_type(self.letter.email_type)
                email_type.job(cleaned["to"], context, priority=cleaned["priority"])
        except InvalidAddress as error:
            self.add_error("to", str(error))
        except InvalidContext as error:
            self.add_error("context" if "context" in self.fields else None, str(error))
        except EmailQueueError as error:
            self.add_error(None, str(error))
        return cleaned
