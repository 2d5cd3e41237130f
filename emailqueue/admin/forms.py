"""What staff are asked before an action."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from emailqueue.jobs.priority import Priority
from emailqueue.mail.messages import MESSAGE, editable_of, is_built
from emailqueue.models import DeadLetter

FOCUSED = {"class": "vTextField", "autofocus": True, "autocomplete": "off"}


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=500, widget=forms.TextInput(attrs=FOCUSED))


class BulkRetryForm(forms.Form):
    stale_too = forms.BooleanField(
        label=_("Also retry mails that are out of date"),
        required=False,
        help_text=_("Their e-mail type says when a mail is out of date. Without a tick they are not changed."),
    )


class IndentedJSON(json.JSONEncoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2, "ensure_ascii": False})


class EditForm(forms.Form):
    """Asks what a retry changes. Whether that makes a mail, the retry finds out."""

    to = forms.CharField(label=_("Recipient"), max_length=320, widget=forms.TextInput(attrs=FOCUSED))
    context = forms.JSONField(
        label=_("Context"),
        encoder=IndentedJSON,
        widget=forms.Textarea(attrs={"class": "vLargeTextField", "rows": 12, "spellcheck": "false"}),
        help_text=_("JSON with the fields of the e-mail type."),
    )
    priority = forms.TypedChoiceField(
        label=_("Priority"), coerce=int, choices=[(priority.value, priority.name.lower()) for priority in Priority]
    )
    stale = forms.BooleanField(label=_("Retry it although it is out of date"))

    def __init__(
        self, letter: DeadLetter, content: Mapping[str, Any] | None = None, *, may_view_body: bool, stale: bool
    ) -> None:
        arguments = letter.arguments or {}
        super().__init__(content, initial={**arguments, "priority": letter.priority})
        is_message = letter.email_type == MESSAGE
        if is_message and is_built(arguments):
            self.fields["to"].help_text = _("The sender built this mail as a whole. It still names the old recipient.")
        asked = {
            "to": not is_message or "to" in editable_of(arguments),
            "context": may_view_body and not is_message,
            "stale": stale,
        }
        for name, is_asked in asked.items():
            if not is_asked:
                del self.fields[name]

    def edits(self) -> dict[str, Any]:
        """Return what DeadLetter.retry() takes; it finds out what differs."""
        return {name: value for name, value in self.cleaned_data.items() if name != "stale"}
