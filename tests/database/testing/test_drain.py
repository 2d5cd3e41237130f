"""What a drain does with mails that fail, with events and with transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from django.db import transaction
from redis import RedisError

from emailqueue import EmailType, email_types, flow, queue_email
from emailqueue.email_types import Attachment
from emailqueue.events import publish, subscribe
from emailqueue.events.event import Event
from emailqueue.models import OutboxRow, Status
from emailqueue.redis import connect
from emailqueue.testing import EmailQueue
from events import queue_reward_delivery, topics
from events.emails import REWARD_DELIVERY
from tests.support.orders import ORDER_SHIPPED

BADGE = {"reward_name": "Badge"}

calls: list[str] = []


def announce(event: Event) -> None:
    """Queue a mail and then fail, the first time."""
    calls.append(event.id)
    with transaction.atomic():
        queue_reward_delivery(event.payload["user_email"], BADGE)
    if len(calls) == 1:
        raise RuntimeError("not yet")


@pytest.fixture
def announcer() -> Iterator[list[str]]:
    """The calls of a subscriber that fails at first."""
    calls.clear()
    subscribe(topics.USER_REGISTERED)(announce)
    yield calls
    topics.USER_REGISTERED.disconnect(dispatch_uid=f"{__name__}.announce")


@pytest.mark.django_db
def test_a_server_that_is_away_holds_mails_until_the_next_drain(email_queue: EmailQueue) -> None:
    server = email_queue.mail_server()
    server.stop()
    for name in ("ada", "mary"):
        queue_reward_delivery(f"{name}@example.com", BADGE)

    away = email_queue.drain()
    waiting = len(email_queue.waiting)
    server.start()
    back = email_queue.drain()

    assert (away.sent, away.uncharged, away.dead, waiting) == (0, 4, [], 2)
    assert (back.sent, len(server.messages)) == (2, 2)


@pytest.mark.django_db
def test_a_domain_that_asks_to_go_slower_gets_its_mails_in_the_end(email_queue: EmailQueue) -> None:
    server = email_queue.mail_server("421 4.7.0 too many, go slower", "421 4.7.0 too many, go slower")
    for name in ("ada", "mary", "eve"):
        queue_reward_delivery(f"{name}@slow.example", BADGE)

    drained = email_queue.drain()

    assert (drained.sent, drained.dead) == (3, [])
    assert drained.uncharged >= 2
    assert len(server.messages) == 3


@pytest.mark.django_db
def test_attempts_are_used_up_without_a_wait(email_queue: EmailQueue) -> None:
    email_queue.mail_server("451", "451", "451", "451")
    queue_reward_delivery("ada@example.com", BADGE, attempts=4)

    drained = email_queue.drain()

    (letter,) = drained.dead
    assert (drained.sent, drained.retries, letter.attempts_charged, letter.recipient) == (0, 3, 4, "ada@example.com")
    assert email_queue.assert_queued("reward-delivery").to == "ada@example.com"


@pytest.mark.django_db
def test_the_retry_of_a_dead_letter_delivers_it(email_queue: EmailQueue) -> None:
    email_queue.mail_server("550 5.1.1 no such mailbox")
    queue_reward_delivery("ada@example.com", BADGE)
    (letter,) = email_queue.drain().dead

    letter.retry()
    drained = email_queue.drain()

    letter.refresh_from_db()
    assert (drained.sent, letter.status) == (1, Status.SENT)


@pytest.mark.django_db
def test_a_template_that_is_missing_tells_of_itself_in_the_letter(email_queue: EmailQueue, broken: EmailType) -> None:
    queue_email(broken, "ada@example.com", {})

    (letter,) = email_queue.drain().dead

    assert "TemplateDoesNotExist" in letter.error_class


@pytest.mark.django_db
def test_a_subscriber_that_fails_at_first_queues_its_mail_once(email_queue: EmailQueue, announcer: list[str]) -> None:
    publish("user.registered", {"user_email": "ada@example.com", "user_name": "Ada"})

    drained = email_queue.drain()

    email_queue.assert_queued("reward-delivery", to="ada@example.com", count=1)
    assert (len(announcer), drained.retries, drained.dead) == (2, 1, [])


@pytest.mark.django_db(transaction=True)
def test_where_transactions_commit_the_commit_queues(
    email_queue: EmailQueue, queue_settings: Callable[..., None]
) -> None:
    queue_settings(OUTBOX="always")
    with transaction.atomic():
        queue_reward_delivery("ada@example.com", BADGE)
        email_queue.assert_not_queued()
        kept = OutboxRow.objects.count()

    email_queue.assert_queued("reward-delivery")
    drained = email_queue.drain()

    assert (kept, drained.sent, OutboxRow.objects.count()) == (1, 1, 0)


@pytest.mark.django_db
def test_the_queue_may_be_asked_for_before_the_database(email_queue: EmailQueue) -> None:
    with transaction.atomic():
        queue_reward_delivery("ada@example.com", BADGE)

    email_queue.assert_queued("reward-delivery", count=1)


@pytest.mark.django_db
def test_a_mail_whose_workers_have_died_is_a_dead_letter_without_another_attempt(email_queue: EmailQueue) -> None:
    job_id = queue_reward_delivery("ada@example.com", BADGE)
    connect().hset(f"rq:job:{job_id}", "crashes", 3)

    drained = email_queue.drain()

    assert (drained.sent, [letter.error_class for letter in drained.dead]) == (0, ["Crashed"])


def test_a_paused_queue_keeps_its_mails(email_queue: EmailQueue) -> None:
    queue_reward_delivery("ada@example.com", BADGE, priority="low")
    flow.pause("low")

    assert email_queue.drain().sent == 0
    assert len(email_queue.waiting) == 1


def announce_to_many(_event: Event) -> None:
    REWARD_DELIVERY.queue_bulk([f"user{number}@example.com" for number in range(501)], BADGE, delay=60)


def test_what_a_subscriber_queues_for_many_and_for_later_waits_whole(db: None, email_queue: EmailQueue) -> None:
    subscribe(ORDER_SHIPPED)(announce_to_many)
    publish(ORDER_SHIPPED, {"order": 7})
    try:
        drained = email_queue.drain(until=timedelta(seconds=30))
    finally:
        ORDER_SHIPPED.receivers.clear()

    assert (drained.events, len(email_queue.waiting)) == (2, 501)


def lose_redis(_context: object) -> NoReturn:
    raise RedisError("the cache is away")


def empty_redis(_context: object) -> list[Attachment]:
    connect().flushall()
    return []


@pytest.mark.parametrize(("attachments", "words"), [(lose_redis, "could not run"), (empty_redis, "was taken away")])
def test_a_job_that_loses_its_redis_fails_the_test(
    db: None, email_queue: EmailQueue, monkeypatch: pytest.MonkeyPatch, attachments: Any, words: str
) -> None:
    kind = replace(REWARD_DELIVERY, attachments=attachments)
    monkeypatch.setitem(email_types._registry, kind.name, kind)
    kind.queue("ada@example.com", BADGE)

    with pytest.raises(RuntimeError, match=words):
        email_queue.drain()
