"""What is said about a letter: what happened, in a sentence, and what to do."""

from __future__ import annotations

from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from emailqueue.models import Attempt, DeadLetter, Reason, Status
from emailqueue.verdict.judge import sentence

STORIES = {
    Reason.PERMANENT: _("Attempt %(charged)d of %(allowed)d was refused for good, so no other followed."),
    Reason.EXHAUSTED: _("All attempts failed: %(charged)d of %(allowed)d."),
    Reason.AMBIGUOUS: _("It may have been delivered: contact was lost while it was being sent."),
    Reason.CRASHED: _("Its workers died while they had it, so it is given to no other."),
    Reason.EXPIRED: _("It waited for longer than a mail may (MAX_AGE), so it was not sent any more."),
    Reason.MALFORMED: _("The job could not be read or calls an unknown function, so nothing was run."),
}
ADVICE = {
    Reason.PERMANENT: _("Correct what was refused, then retry with edits; discard it if the address is gone."),
    Reason.EXHAUSTED: _("Retry it once the cause is gone; the last attempt below says what it was."),
    Reason.AMBIGUOUS: _("Ask the recipient or the mail server's log before you retry: it may arrive twice."),
    Reason.CRASHED: _("Read the workers' logs of that time first: a retry may end another worker."),
    Reason.EXPIRED: _("Retry it if it is still of use to its reader; discard it otherwise."),
    Reason.MALFORMED: _("Discard it, or deploy the function that it calls and retry."),
}
CLOSED = {
    Status.RETRYING: _("Nothing to do: it is on its way again."),
    Status.SENT: _("Nothing to do: its retry was sent."),
    Status.FAILED_AGAIN: _("Nothing to do here: its retry died, too, and has a letter of its own."),
    Status.DISCARDED: _("Nothing to do: it was discarded."),
}


def plain_words(letter: DeadLetter) -> str:
    """Return why the letter died, in a few words: what its verdict says first, or else the reason."""
    return verdict_of(letter).partition(". ")[0] or letter.get_reason_display()


def verdict_of(failed: DeadLetter | Attempt) -> str:
    """Return what the verdict on an attempt, or on a letter's last one, says; empty where none was kept."""
    return sentence(failed.rule) or sentence(failed.verdict)


def error_line(letter: DeadLetter) -> str:
    """Return the last error in a few words."""
    kind = letter.error_class.rpartition(".")[2]
    return Truncator(": ".join(filter(None, [kind, letter.message]))).chars(80)


def story(letter: DeadLetter) -> str:
    """Return in a sentence or two what happened."""
    text = STORIES.get(Reason(letter.reason), "") if letter.reason in Reason else ""
    told = str(text) % {"charged": letter.attempts_charged, "allowed": letter.attempts_allowed}
    reply = f"{letter.smtp_code} {letter.smtp_reply}".strip() if letter.smtp_code else letter.smtp_reply
    what = reply or letter.message or letter.error_class
    if what and what[-1] not in ".!?":
        what += "."
    return " ".join(filter(None, [told, what, verdict_of(letter)]))


def advice(letter: DeadLetter) -> str:
    """Return what to do about it."""
    if letter.status != Status.OPEN:
        return str(CLOSED.get(Status(letter.status), "")) if letter.status in Status else ""
    if sentence(letter.rule):
        return ""  # which says what to do, too
    if letter.reason in Reason:
        return str(ADVICE[Reason(letter.reason)])
    return gettext("Read the attempts below, then retry or discard it.")
