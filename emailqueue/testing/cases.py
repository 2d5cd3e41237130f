"""The testing kit for django.test.TestCase and its relatives."""

from __future__ import annotations

import unittest
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Unpack

from emailqueue.email_types import EmailType
from emailqueue.testing.drainer import Drained
from emailqueue.testing.email_queue import EmailQueue, Said
from emailqueue.testing.queued import QueuedEmail

if TYPE_CHECKING:
    Base = unittest.TestCase
else:
    Base = object


class EmailQueueMixin(Base):
    """
    Give each test an empty queue, as self.email_queue, and the assertions under the names of unittest.

    Write it before Django's class: class SignUpTests(EmailQueueMixin, TestCase). A setUp() of your own calls
    super().setUp() first.
    """

    email_queue: EmailQueue

    def setUp(self) -> None:
        """Put the empty queue in place until the test has ended."""
        super().setUp()
        self.email_queue = self.enterContext(EmailQueue())

    def assertEmailQueued(  # noqa: N802  named as unittest does
        self, email_type: str | EmailType | None = None, *, count: int | None = None, **said: Unpack[Said]
    ) -> QueuedEmail:
        """See EmailQueue.assert_queued()."""
        return self.email_queue.assert_queued(email_type, count=count, **said)

    def assertEmailNotQueued(  # noqa: N802  likewise
        self, email_type: str | EmailType | None = None, **said: Unpack[Said]
    ) -> None:
        """See EmailQueue.assert_not_queued()."""
        self.email_queue.assert_not_queued(email_type, **said)

    def drain(self, *, until: datetime | timedelta | None = None) -> Drained:
        """See EmailQueue.drain()."""
        return self.email_queue.drain(until=until)
