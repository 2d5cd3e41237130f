"""When Django's mail is queued: by its priority, with its transaction, and while Redis is away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage, mail_admins, send_mail
from django.db import IntegrityError, transaction
from django.utils.log import AdminEmailHandler
from pytest_django import Settings
from redis import Redis

from emailqueue.backends import QueuedEmailBackend
from emailqueue.enqueue.relay import relay
from emailqueue.enqueue.staging import Staging
from emailqueue.enqueue.submit import absence
from emailqueue.errors import InvalidPriority, RedisUnavailable
from emailqueue.models import OutboxRow
from emailqueue.redis import rq_queues
from emailqueue.store import Store
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.django_mail import HAS_MAILERS, OFFICE, full_message, waiting

AT_ONCE = "emailqueue.backends.AtOnceEmailBackend"
LARGE = bytes(range(256)) * 300
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


@pytest.mark.parametrize(
    ("headers", "queue", "sent"),
    [
        ({}, "normal", None),
        ({"X-Queue-Priority": "critical"}, "critical", None),
        ({"x-queue-priority": " 4 "}, "low", None),
        ({"X-Priority": "1 (Highest)"}, "high", "1 (Highest)"),
        ({"X-Priority": "5"}, "low", "5"),
        ({"X-Priority": "urgent"}, "normal", "urgent"),
        ({"X-Priority": "5", "X-Queue-Priority": "high"}, "high", "5"),
    ],
)
def test_a_header_says_the_priority(  # noqa: PLR0917 - pytest calls it by keyword
    queued: MailServer, work: Work, valkey: Redis, headers: dict[str, str], queue: str, sent: str | None
) -> None:
    message = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"], headers=headers)

    message.send()
    waited = waiting(valkey, queue)
    work()

    assert waited == 1
    assert queued.messages[0].message["X-Queue-Priority"] is None
    assert queued.messages[0].message["X-Priority"] == sent
    assert message.extra_headers == headers


def test_the_setting_says_the_priority_of_the_rest(
    queued: MailServer, valkey: Redis, queue_settings: Callable[..., None]
) -> None:
    queue_settings(BACKEND_PRIORITY="low")

    send_mail("Subject", "Body", OFFICE, ["ada@example.com"])
    QueuedEmailBackend(priority="high").send_messages([EmailMessage("S", "B", OFFICE, ["ada@example.com"])])

    assert (waiting(valkey, "low"), waiting(valkey, "high")) == (1, 1)


def test_a_priority_that_is_none_is_refused_at_the_call(queued: MailServer) -> None:
    message = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"], headers={"X-Queue-Priority": "soon"})

    with pytest.raises(InvalidPriority, match="'soon'"):
        message.send()


def test_mail_goes_with_the_transaction(queued: MailServer, valkey: Redis, transactional_db: None) -> None:
    with transaction.atomic():
        send_mail("Kept", "Body", OFFICE, ["ada@example.com"])
        before_commit = waiting(valkey, "normal")
    with transaction.atomic():
        send_mail("Rolled back", "Body", OFFICE, ["ada@example.com"])
        transaction.set_rollback(True)

    assert before_commit == 0
    assert waiting(valkey, "normal") == 1


def tell_of_an_error() -> None:
    how: dict[str, Any] = {"using": "errors"} if HAS_MAILERS else {"email_backend": AT_ONCE}
    record = logging.LogRecord("shop", logging.ERROR, __file__, 1, "The order failed.", (), None)
    AdminEmailHandler(**how).emit(record)


def order_that_fails() -> None:
    with transaction.atomic():
        User.objects.create(username="ada")
        mail_admins("By the default backend", "is gone")
        try:
            User.objects.create(username="ada")
        except IntegrityError:
            tell_of_an_error()  # in a transaction that takes no query any more
            raise


def test_an_error_is_told_although_the_transaction_is_rolled_back(
    queued: MailServer, valkey: Redis, settings: Settings
) -> None:
    settings.ADMINS = ["ada@example.com"] if HAS_MAILERS else [("Ada", "ada@example.com")]
    if HAS_MAILERS:
        settings.MAILERS = {**settings.MAILERS, "errors": {"BACKEND": AT_ONCE}}

    with pytest.raises(IntegrityError):
        order_that_fails()

    assert waiting(valkey, "normal") == 1


def test_an_error_is_told_although_its_job_fails(queued: MailServer, settings: Settings, valkey: Redis) -> None:
    settings.ADMINS = ["ada@example.com"] if HAS_MAILERS else [("Ada", "ada@example.com")]
    if HAS_MAILERS:
        settings.MAILERS = {**settings.MAILERS, "errors": {"BACKEND": AT_ONCE}}

    with Staging("job").collecting():
        mail_admins("By the default backend", "waits for the job to succeed")
        tell_of_an_error()

    assert waiting(valkey, "normal") == 1


def test_more_messages_than_one_script_takes_are_queued_all_the_same(queued: MailServer, valkey: Redis) -> None:
    messages = [EmailMessage("Subject", "Body", OFFICE, [f"r{number}@example.com"]) for number in range(501)]

    count = QueuedEmailBackend().send_messages(messages)

    assert count == waiting(valkey, "normal") == 501


@pytest.fixture
def redis_is_away(settings: Settings) -> Iterator[Callable[[], None]]:
    there = settings.RQ_QUEUES

    def back() -> None:
        settings.RQ_QUEUES = there
        absence.until = 0.0

    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")
    absence.until = 0.0
    yield back
    absence.until = 0.0


def test_a_redis_that_is_away_is_silent_only_on_request(
    queued: MailServer, redis_is_away: Callable[[], None], queue_settings: Callable[..., None]
) -> None:
    queue_settings(OUTBOX="off")
    right = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"])
    wrong = EmailMessage("Sub\nject", "Body", OFFICE, ["ada@example.com"])

    silent = QueuedEmailBackend(fail_silently=True).send_messages([right])

    assert silent == 0
    with pytest.raises(RedisUnavailable):
        right.send()
    with pytest.raises(ValueError, match=r"(?i)newline|linefeed"):
        QueuedEmailBackend(fail_silently=True).send_messages([wrong])
    assert not OutboxRow.objects.exists()


def test_mail_waits_in_the_outbox_while_redis_is_away(
    queued: MailServer, redis_is_away: Callable[[], None], valkey: Redis, work: Work
) -> None:
    message = full_message(to=["ada@example.com"], cc=[], bcc=[])
    message.attach("large.bin", LARGE, "application/octet-stream")

    count = message.send()
    waited = OutboxRow.objects.count()
    redis_is_away()
    relay(Store(valkey))
    work()

    assert (count, waited) == (1, 1)
    assert {part.get_filename(): part for part in queued.messages[0].message.iter_attachments()}[
        "large.bin"
    ].get_content() == LARGE
