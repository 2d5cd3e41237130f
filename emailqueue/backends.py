"""The e-mail backend that puts Django's own mail into the queue."""

import logging
from collections.abc import Sequence
from math import inf
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import DatabaseError

from emailqueue.conf import get_settings
from emailqueue.delivery.mailers import is_smtp, require_delivery
from emailqueue.enqueue.submit import push, submit
from emailqueue.errors import RedisUnavailable, StorageUnavailable
from emailqueue.jobs.priority import Priority
from emailqueue.mail.prepare import Prepared, prepare

logger = logging.getLogger(__name__)


class QueuedEmailBackend(BaseEmailBackend):
    """
    Queues messages instead of sending them; EMAIL_QUEUE["MAILER"] sends them later, from a worker.

    `priority`: of messages that do not say one. `database`: alias of the database whose transaction they wait for.
    Both are options of the backend. User name and password, which Django's functions pass on, are not used here.
    """

    is_queue = True

    def __init__(
        self,
        fail_silently: bool = False,  # noqa: FBT001, FBT002 - as Django calls it
        *,
        priority: Priority | int | str | None = None,
        database: str | None = None,
        username: str | None = None,
        password: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.fail_silently = fail_silently
        self._priority = None if priority is None else Priority.parse(priority)
        self._database = database

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """
        Queue messages, all or none, and return how many. Inside a transaction they are queued on commit.

        All are checked first. A wrong one raises what Django raises when it sends it, also with `fail_silently`;
        that is for a Redis (with EMAIL_QUEUE["OUTBOX"] "off"), a storage or a database that is away.
        """
        settings = get_settings()
        require_delivery(settings)
        apart = is_smtp(settings)
        wanted = [message for message in email_messages if message.recipients()]
        prepared = [prepare(message, priority=self._priority, apart=apart) for message in wanted]
        try:
            self._queue(prepared)
        except (RedisUnavailable, StorageUnavailable, DatabaseError) as error:
            if not self.fail_silently:
                raise
            logger.warning("messages are not queued", extra={"messages": len(wanted), "error": str(error)})
            return 0
        return len(wanted)

    def _queue(self, prepared: Sequence[Prepared]) -> None:
        submit([job for message in prepared for job in message.jobs()], using=self._database)


class AtOnceEmailBackend(QueuedEmailBackend):
    """
    Queues at once, whatever becomes of the transaction or of the job that runs: for mails that tell of errors.

    It stores nothing in the database while Redis can be reached, since the transaction may be broken.
    """

    def _queue(self, prepared: Sequence[Prepared]) -> None:
        push([job for message in prepared for job in message.jobs(most=inf)])
