"""What staff read about a dead letter: what happened, in a sentence, and what to do."""

from collections.abc import Mapping
from typing import Any

from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from emailqueue.models import DeadLetter, Reason, Status
from emailqueue.verdict.judge import sentence

CLOSED: Mapping[str, Any] = {
    Status.RETRYING: _("Nothing to do: it is on its way again."),
    Status.SENT: _("Nothing to do: its retry was sent."),
    Status.FAILED_AGAIN: _("Nothing to do here: its retry failed, too, and has a dead letter of its own."),
    Status.DISCARDED: _("Nothing to do: it was discarded."),
}


def headline(letter: DeadLetter) -> str:
    """Return in a few words why the job was given up: what its verdict says first, or else the reason."""
    return verdict_of(letter).partition(". ")[0] or letter.get_reason_display()


def verdict_of(letter: DeadLetter) -> str:
    """Return what the rule that judged the last attempt says; empty where none did."""
    return sentence(letter.rule) or str(letter.get_verdict_display())


def error_line(letter: DeadLetter) -> str:
    error_class = letter.error_class.rpartition(".")[2]
    return Truncator(": ".join(filter(None, [error_class, letter.message]))).chars(80)


def summary(letter: DeadLetter) -> str:
    reason = _reason(letter)
    attempts = {"charged": letter.attempts_charged, "allowed": letter.attempts_allowed}
    happened = str(reason.happened) % attempts if reason else ""
    reply = f"{letter.smtp_code} {letter.smtp_reply}".strip() if letter.smtp_code else letter.smtp_reply
    error = reply or letter.message or letter.error_class
    if error and error[-1] not in ".!?":
        error += "."
    return " ".join(filter(None, [happened, error, verdict_of(letter)]))


def hint(letter: DeadLetter) -> str:
    if letter.status != Status.OPEN:
        return str(CLOSED.get(letter.status, ""))
    if sentence(letter.rule):
        return ""  # which says what to do, too
    reason = _reason(letter)
    return str(reason.hint) if reason else gettext("Read the attempts below, then retry or discard it.")


def _reason(letter: DeadLetter) -> Reason | None:
    return Reason(letter.reason) if letter.reason in Reason else None
