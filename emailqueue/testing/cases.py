"""The testing kit for django.test.TestCase and its relatives."""

import unittest
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack

from emailqueue.email_types import EmailType
from emailqueue.testing.drainer import Drained
from emailqueue.testing.email_queue import EmailQueue
from emailqueue.testing.queued import Expectation, QueuedEmail

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

    _email_queue: EmailQueue | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bases = cls.__mro__
        if unittest.TestCase in bases and bases.index(unittest.TestCase) < bases.index(EmailQueueMixin):
            raise TypeError(
                f"{cls.__name__} has EmailQueueMixin after its TestCase, whose setUp() would hide that of the mixin. "
                f"Write class {cls.__name__}(EmailQueueMixin, TestCase)."
            )

    def setUp(self) -> None:
        """Put the empty queue in place until the test has ended."""
        super().setUp()
        self._email_queue = self.enterContext(EmailQueue())

    @property
    def email_queue(self) -> EmailQueue:
        """The queue of this test. Raises RuntimeError before the mixin's setUp()."""
        if self._email_queue is None:
            raise RuntimeError(f"{type(self).__name__} has no queue yet. Call super().setUp() first in its setUp().")
        return self._email_queue

    def assertEmailQueued(  # noqa: N802  named as unittest does
        self, email_type: str | EmailType | None = None, *, count: int | None = None, **expected: Unpack[Expectation]
    ) -> QueuedEmail:
        """See EmailQueue.assert_queued()."""
        return self.email_queue.assert_queued(email_type, count=count, **expected)

    def assertEmailNotQueued(  # noqa: N802  as above
        self, email_type: str | EmailType | None = None, **expected: Unpack[Expectation]
    ) -> None:
        """See EmailQueue.assert_not_queued()."""
        self.email_queue.assert_not_queued(email_type, **expected)

    def drain(self, *, until: datetime | timedelta | None = None) -> Drained:
        """See EmailQueue.drain()."""
        return self.email_queue.drain(until=until)
