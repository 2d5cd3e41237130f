"""How an attempt can end, and why a job becomes a dead letter: the one list of both, with all that each means."""

from dataclasses import dataclass
from typing import Literal, Self

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Reason(TextChoices):
    """Why a job became a dead letter: as it is stored, what happened, what to do about it, and the label."""

    happened: Promise
    hint: Promise

    def __new__(cls, value: str, *texts: Promise) -> Self:
        """Take apart what stands beside a name; Django takes the label."""
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.happened, reason.hint = texts
        return reason

    PERMANENT = (
        "permanent",
        _("Attempt %(charged)d of %(allowed)d was refused for good, so no other followed."),
        _("Correct what was refused, then retry with edits; discard it if the address is gone."),
        _("refused for good"),
    )
    EXHAUSTED = (
        "exhausted",
        _("All attempts failed: %(charged)d of %(allowed)d."),
        _("Retry it once the cause is gone; the last attempt below says what it was."),
        _("all attempts failed"),
    )
    AMBIGUOUS = (
        "ambiguous",
        _("It may have been sent: contact was lost while it was being sent."),
        _("Ask the recipient or the mail server's log before you retry: it may arrive twice."),
        _("maybe sent"),
    )
    CRASHED = (
        "crashed",
        _("Its workers died while they had it, so it is given to no other."),
        _("Read the workers' logs of that time first: a retry may end another worker."),
        _("its workers crashed"),
    )
    EXPIRED = (
        "expired",
        _("It waited for longer than a mail may (MAX_AGE), so it was not sent any more."),
        _("Retry it if it is still of use to its reader; discard it otherwise."),
        _("waited too long"),
    )
    MALFORMED = (
        "malformed",
        _("The job could not be read or calls an unknown function, so nothing was run."),
        _("Discard it, or deploy the function that it calls and retry."),
        _("unreadable job"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What one end of an attempt means for the job."""

    verb: Literal["sent", "retry", "wait", "throttle", "back", "dead", ""]
    """What becomes of the job, in the words of settle.lua; empty: nothing is written."""

    charged: bool = False
    """Whether it uses up one of the job's attempts."""

    reason: Reason = Reason.EXHAUSTED
    """Why the job is a dead letter if this was its last attempt."""


class End(TextChoices):
    """
    How an attempt ended: as it is stored, what it means, and what staff read about the attempt.

    A rule about failed attempts names RETRY, WAIT, THROTTLE, PERMANENT, BAD_ADDRESS or AMBIGUOUS.
    """

    meaning: Meaning

    def __new__(cls, value: str, *meaning: Meaning) -> Self:
        """Take apart what stands beside a name; Django takes the label."""
        end = str.__new__(cls, value)
        end._value_ = value
        (end.meaning,) = meaning
        return end

    SENT = "sent", Meaning(verb="sent", charged=True), _("sent")
    SKIPPED = "skipped", Meaning(verb="sent"), _("skipped")
    """The recipient gets no mails of this type any more: the job is over, without a mail."""

    RETRY = "retry", Meaning(verb="retry", charged=True), _("failed for now")
    """Failed in a way that may pass: retried after the backoff, until the attempts are used up."""

    WAIT = "wait", Meaning(verb="wait"), _("mail server away")
    """The mail server as a whole is away or refuses our account: all mails wait."""

    AWAY = "away", Meaning(verb="wait"), _("a part of ours away")
    """A part of ours that this job needs is away, such as the database: the job waits."""

    THROTTLE = "throttle", Meaning(verb="throttle"), _("asked to go slower")
    """The recipient's domain asks us to go slower: its mails wait."""

    PERMANENT = "permanent", Meaning(verb="dead", charged=True, reason=Reason.PERMANENT), _("refused for good")
    BAD_ADDRESS = (
        "bad address",
        Meaning(verb="dead", charged=True, reason=Reason.PERMANENT),
        _("refused for good: the address is bad"),
    )
    AMBIGUOUS = "ambiguous", Meaning(verb="retry", charged=True, reason=Reason.AMBIGUOUS), _("maybe sent")
    """Contact broke when the mail may have been accepted already. With AMBIGUOUS = "hold" it is not sent again."""

    MALFORMED = "malformed", Meaning(verb="dead", charged=True, reason=Reason.MALFORMED), _("unreadable job")
    """The job cannot be read, or calls what it must not."""

    CRASHED = "crashed", Meaning(verb="dead", charged=True, reason=Reason.CRASHED), _("its workers crashed")
    EXPIRED = "expired", Meaning(verb="dead", reason=Reason.EXPIRED), _("waited too long")
    BACK = "back", Meaning(verb="back"), _("not sent")
    """Nothing was tried: the job goes back to the head of its queue as it was."""

    LOST = "lost", Meaning(verb=""), _("lease lost")
    """The job is another worker's now: there is nothing to write."""
