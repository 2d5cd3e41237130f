"""What staff are asked before an action."""

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

FOCUSED = {"class": "vTextField", "autofocus": True, "autocomplete": "off"}


class ReasonForm(forms.Form):
    """Asks why dead letters are discarded."""

    reason = forms.CharField(label=_("Reason"), max_length=500, widget=forms.TextInput(attrs=FOCUSED))


class BulkRetryForm(forms.Form):
    """Asks whether dead letters that are out of date are retried, too."""

    stale_too = forms.BooleanField(
        label=_("Also retry mails that are out of date"),
        required=False,
        help_text=_("Their e-mail type says when a mail is out of date. Without a tick they are not changed."),
    )


class IndentedJSON(json.JSONEncoder):
    """JSON as people edit it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2, "ensure_ascii": False})


class EditForm(forms.Form):
    """Asks what a retry changes, and checks the answer as the queue checks a call."""

    to = forms.CharField(label=_("Recipient"), max_length=320, widget=forms.TextInput(attrs=FOCUSED))
    context = forms.JSONField(
        label=_("Context"),
        encoder=IndentedJSON,
        widget=forms.Textarea(attrs={"class": "vLargeTextField", "rows": 12, "spellcheck": "false"}),
        help_text=_("JSON with the fields of the e-mail type."),
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
        self.arguments = letter.arguments if isinstance(letter.arguments, dict) else {}
        context = self.arguments.get("context")
        initial = {"to": self.arguments.get("to"), "context": context, "priority": letter.priority}
        super().__init__(content, initial=initial)
        self.is_message = letter.email_type == MESSAGE
        if self.is_message and "to" not in editable_of(self.arguments):
            del self.fields["to"]
        elif self.is_message and is_built(self.arguments):
            self.fields["to"].help_text = _("The sender built this mail as a whole. It still names the old recipient.")
        if not may_view_body or self.is_message:
            del self.fields["context"]
        if not stale:
            del self.fields["stale"]

    def edits(self) -> dict[str, Any]:
        """Return what DeadLetter.retry() takes; it finds out what differs."""
        return {name: value for name, value in self.cleaned_data.items() if name != "stale"}

    def clean(self) -> dict[str, Any]:
        """Make the job that would be queued, and put what is wrong at its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self._make_job({**self.arguments, **cleaned})
            except InvalidAddress as error:
                self.add_error("to", str(error))
            except InvalidContext as error:
                self.add_error("context" if "context" in self.fields else None, str(error))
            except EmailQueueError as error:
                self.add_error(None, str(error))
        return cleaned

    def _make_job(self, values: Mapping[str, Any]) -> None:
        if self.is_message:
            edited_job(self.arguments, values.get("to"), priority=values["priority"])
        else:
            email_type = get_email_type(self.letter.email_type)
            email_type.job(values["to"], values["context"], priority=values["priority"])
