"""What became of each recipient: counted at the mail server and among the dead letters, not from hearsay."""

from dataclasses import dataclass

from config.quickstart.sample import Sample
from emailqueue.jobs.priority import EMAIL_QUEUES, QUEUES
from emailqueue.models import DeadLetter
from emailqueue.redis import connect
from emailqueue.store import Store
from emailqueue.testing import MailServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The figures at one moment."""

    published: int
    """Events."""

    queued: int
    """Mails in the queues, ever."""

    delivered: int
    """Recipients whose mail the mail server has."""

    retried: int
    """Attempts that failed and were followed by another."""

    dead_lettered: int
    """Recipients whose mail is an open dead letter."""

    lost: int
    """Recipients with neither; until all is settled, those whose mail is still on its way."""

    twice: int
    """Mails beyond the first of a recipient."""

    underway: int
    """Jobs that wait, run or are due later, and dead letters on their way into the database."""

    @property
    def settled(self) -> bool:
        """Whether each recipient is accounted for and nothing is left to do."""
        return self.lost == 0 and self.underway == 0

    def as_json(self) -> dict[str, int]:
        """Return what --json prints."""
        names = ("published", "queued", "delivered", "retried", "dead_lettered", "lost")
        return {name: getattr(self, name) for name in names}


def take_tally(sample: Sample, server: MailServer) -> Tally:
    """Count what the mail server, the database and Redis hold."""
    counts = Store(connect()).counts()
    everything, mails = counts.of(*QUEUES), counts.of(*EMAIL_QUEUES)
    messages = server.messages
    expected = set(sample.recipients)
    reached = {mail.recipient for mail in messages}
    dead = set(DeadLetter.objects.open().values_list("recipient", flat=True))
    return Tally(
        published=sample.published,
        queued=mails.queued,
        delivered=len(expected & reached),
        retried=mails.retried,
        dead_lettered=len(expected & dead),
        lost=len(expected - reached - dead),
        twice=len(messages) - len(reached),
        underway=everything.waiting + everything.active + everything.delayed + counts.inbox,
    )
