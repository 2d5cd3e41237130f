"""The queue of one test: what was queued, and a worker that runs it at once. It needs no Redis."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self, Unpack

from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends import locmem, smtp
from django.core.mail.backends.base import BaseEmailBackend
from redis import Redis

from emailqueue.conf import Settings
from emailqueue.email_types import EmailType
from emailqueue.enqueue.call import due as checked_due
from emailqueue.enqueue.submit import absence
from emailqueue.jobs.job import Job
from emailqueue.redis import standing_in
from emailqueue.testing.commits import Commits
from emailqueue.testing.drainer import Drained, Drainer
from emailqueue.testing.own_backend import own_queue_backend
from emailqueue.testing.queued import Expectation, Expected, QueuedEmail, waiting_jobs

if TYPE_CHECKING:
    from emailqueue.testing.mailserver import MailServer


class EmailQueue:
    """
    A queue that is empty at first, in place of the one in Redis for the length of a with block.

        with EmailQueue() as email_queue:
            sign_up("ada@example.com")
            email_queue.assert_queued("welcome", to="ada@example.com", context={"name": "Ada"})
            email_queue.drain()
        assert mail.outbox[0].subject == "Welcome, Ada"

    What drain() delivers goes to django.core.mail.outbox, or to the mail server that mail_server() starts. Raises
    ImproperlyConfigured without fakeredis.
    """

    def __init__(self) -> None:
        self._commits = Commits()
        self._run: dict[str, QueuedEmail] = {}
        """Mails that drain() has claimed: those that are dead-lettered are no longer in Redis."""
        self._server: MailServer | None = None
        self._until_the_end = ExitStack()

    def __enter__(self) -> Self:
        self._connection = _redis_in_memory()
        self._commits.begin()
        self._until_the_end.enter_context(standing_in(self._connect))
        self._until_the_end.enter_context(own_queue_backend())
        absence.until = 0.0  # a Redis that was away before this test is not this one
        return self

    def __exit__(self, *exc: object) -> None:
        self._until_the_end.close()

    @property
    def emails(self) -> list[QueuedEmail]:
        """All mails that were queued and not cancelled, in the order of their calls, whether they went out or not."""
        return _in_order([*self._run.values(), *self.waiting])

    @property
    def waiting(self) -> list[QueuedEmail]:
        """The mails that have not gone out yet, scheduled ones too."""
        self._commits.come()
        return _in_order(filter(None, map(QueuedEmail.of, waiting_jobs(self._connection))))

    def find(self, email_type: str | EmailType | None = None, **expected: Unpack[Expectation]) -> list[QueuedEmail]:
        """Return the queued mails that fit what is expected."""
        wanted = Expected.parse(email_type, expected)
        return [email for email in self.emails if wanted.fits(email)]

    def assert_queued(
        self, email_type: str | EmailType | None = None, *, count: int | None = None, **expected: Unpack[Expectation]
    ) -> QueuedEmail:
        """
        Fail unless a mail was queued that fits what is expected, or exactly `count` of them; return the first one.

        Only what a mail can be may be expected: UnknownEmailType, InvalidContext and the like are raised as by queue().
        """
        if count is not None and count < 1:
            raise ValueError(f"count is {count!r}. Use a number from 1 on, or assert_not_queued().")
        found = self.find(email_type, **expected)
        if not found or count not in (None, len(found)):
            number = f"{len(found)} of {count} expected mails were" if count else "No mail was"
            raise AssertionError(f"{number} queued with {self._describe(email_type, expected)}")
        return found[0]

    def assert_not_queued(self, email_type: str | EmailType | None = None, **expected: Unpack[Expectation]) -> None:
        """Fail if a mail was queued that fits what is expected; without arguments, if any was."""
        if self.find(email_type, **expected):
            raise AssertionError(f"A mail was queued with {self._describe(email_type, expected)}")

    def drain(self, *, until: datetime | timedelta | None = None) -> Drained:
        """
        Run what is due, mails and events, and return what became of it.

        Nothing waits: a failed attempt is repeated at once until it succeeds or its attempts are used up. `until`: run
        what is scheduled until then, too, in the order of time; an aware datetime, or a timedelta from now. A mail
        server that is away is asked again three times; then mails stay where they are until the next drain().
        """
        drainer = Drainer(self._connection, backend=self._backend, commit=self._commits.come, on_claim=self._claimed)
        return drainer.drain(until=_moment(until))

    def mail_server(self, *replies: str) -> MailServer:
        """
        Deliver to a real mail server on loopback from now on, which answers the next recipients like this.

        mail_server("451", "drop", "250") says no for now, then hangs up, then takes the mail; more is in
        emailqueue.testing.MailServer. Another call sets other replies. Raises ImproperlyConfigured without aiosmtpd.
        """
        _require("aiosmtpd", need="A mail server for tests needs aiosmtpd.")
        from emailqueue.testing.mailserver import MailServer

        if self._server is None:
            self._server = self._until_the_end.enter_context(MailServer())
        self._server.replies = replies
        return self._server

    def _connect(self) -> Redis:
        # Whoever asks for Redis outside a transaction that the test has not begun sees what was queued before.
        self._commits.come()
        return self._connection

    def _backend(self, settings: Settings) -> BaseEmailBackend:
        if self._server is None:
            return locmem.EmailBackend(alias="default")
        # The alias keeps EMAIL_* out of it, which Django 6.1 deprecates.
        return smtp.EmailBackend(
            host="127.0.0.1", port=self._server.port, username="", password="", timeout=10, alias="default"
        )

    def _claimed(self, job: Job) -> None:
        if email := QueuedEmail.of(job):
            self._run[email.job_id] = email

    def _describe(self, email_type: str | EmailType | None, expected: Expectation) -> str:
        queued = "\n  ".join(map(str, self.emails)) or "nothing"
        return f"{Expected.parse(email_type, expected)}. What was queued:\n  {queued}"


def _in_order(emails: Iterable[QueuedEmail]) -> list[QueuedEmail]:
    """Return them by the time of their calls; of one that was claimed and waits again, what is true now."""
    return sorted({email.job_id: email for email in emails}.values(), key=lambda email: email.queued_at)


def _moment(until: datetime | timedelta | None) -> datetime | None:
    if isinstance(until, timedelta):
        return datetime.now(UTC) + until
    checked_due(at=until)
    return until


def _redis_in_memory() -> Redis:
    # lupa: without it fakeredis runs no scripts
    _require("fakeredis", "lupa", need="The testing kit needs fakeredis with Lua.")
    import fakeredis

    return fakeredis.FakeRedis(server=fakeredis.FakeServer(version=(7,)))


def _require(*packages: str, need: str) -> None:
    if not all(map(find_spec, packages)):
        raise ImproperlyConfigured(f'{need} Run pip install "django-emailqueue[testing]".')
