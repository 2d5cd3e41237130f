"""An event is published once, and each subscriber is run for it, alone in its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker
from redis import Redis

from emailqueue import Backoff, get_queue_stats, queue_email
from emailqueue.events import Event, Topic, get_event_stats, publish, subscribe
from emailqueue.events.stats import SubscriberStats
from emailqueue.models import DeadLetter, Status
from emailqueue.testing import MailServer
from events import publish_event
from tests.conftest import Work

VOTE = {"voter_email": "ada@example.com", "model_name": "Tern", "model_id": 7}
AT_ONCE = Backoff(type="fixed", delay=0.01)


@dataclass(frozen=True, kw_only=True)
class DoorOpened:
    door: int


DOOR_OPENED = Topic("door.opened", payload=DoorOpened)
calls: list[str] = []
locked: list[bool] = []


def ring(event: Event) -> None:
    calls.append("ring")


def unlock(event: Event) -> None:
    calls.append("unlock")
    queue_email("reward-delivery", "ada@example.com", {"reward_name": "Key"})
    if locked:
        raise PermissionError(f"door {event.door} is locked")


async def greet(event: Event) -> None:
    calls.append("greet")
    queue_email("reward-delivery", "bob@example.com", {"reward_name": "Mat"})


@pytest.fixture(autouse=True)
def _subscribers(transactional_db: None) -> Iterator[None]:
    subscribe(DOOR_OPENED)(ring)
    subscribe(DOOR_OPENED, attempts=4, backoff=AT_ONCE)(unlock)
    subscribe(DOOR_OPENED)(greet)
    yield
    calls.clear()
    locked.clear()
    DOOR_OPENED.receivers.clear()


@pytest.fixture
def other(django_db_blocker: DjangoDbBlocker, tmp_path: Path) -> Iterator[str]:
    """The alias of a second database."""
    options = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "other.sqlite3"), "OPTIONS": {}}
    connections.databases["other"] = {**connections.databases["default"], **options}
    with django_db_blocker.unblock():
        yield "other"
    connections["other"].close()
    del connections["other"], connections.databases["other"]


def test_a_subscriber_that_fails_for_ever_fails_alone_and_is_retried_alone_from_the_admin(
    valkey: Redis, work: Work, mailbox: MailServer, admin_user: User
) -> None:
    locked.append(True)
    client = Client()
    client.force_login(admin_user)

    publish(DOOR_OPENED, {"door": 7})
    work(seconds=10)
    letter = DeadLetter.objects.get()
    page = client.get(reverse("admin:emailqueue_deadletter_change", args=[letter.pk])).content.decode()
    first_calls = sorted(calls)
    recipients = [mail.recipient for mail in mailbox.messages]
    calls.clear()
    locked.clear()
    client.post(reverse("admin:emailqueue_deadletter_retry", args=[letter.pk]))
    work(seconds=10)

    assert first_calls == ["greet", "ring", *["unlock"] * 4]
    assert recipients == ["bob@example.com"]
    assert letter.label == f"door.opened → {__name__}.unlock"
    assert letter.arguments is not None
    assert letter.arguments["event"]["payload"] == {"door": 7}
    assert letter.attempts_charged == 4
    assert page.count("<p>PermissionError: door 7 is locked</p>") == 4
    assert f"door.opened → {__name__}.unlock" in page
    assert "&quot;door&quot;: 7" in page
    assert calls == ["unlock"]
    assert sorted(mail.recipient for mail in mailbox.messages) == ["ada@example.com", "bob@example.com"]
    assert DeadLetter.objects.get().status == Status.SENT
    assert get_event_stats().topics["door.opened"].subscribers[f"{__name__}.unlock"] == SubscriberStats(
        run=1, skipped=0, failed=1
    )


WAYS_IN: dict[str, Callable[[str | None], str]] = {
    "publish by name": lambda using: publish("door.opened", {"door": 7}, using=using),
    "publish by topic": lambda using: publish(DOOR_OPENED, DoorOpened(door=7), using=using),
    "publish with a key": lambda using: publish("door.opened", {"door": 7}, idempotency_key="door 7", using=using),
    "publish_event": lambda using: publish_event.vote_created(VOTE, using=using),
    "publish_event of a project": lambda using: publish_event.door_opened(  # type: ignore[attr-defined] # at run time
        {"door": 7}, using=using
    ),
}


@pytest.mark.parametrize("alias", ["default", "other"])
@pytest.mark.parametrize("way", WAYS_IN)
def test_a_rollback_publishes_nothing_through_any_way_in(
    valkey: Redis, work: Work, other: str, way: str, alias: str
) -> None:
    with transaction.atomic(using=alias):
        with transaction.atomic(using=alias):
            WAYS_IN[way](alias)
            transaction.set_rollback(True, using=alias)
        WAYS_IN[way](alias)
        transaction.set_rollback(True, using=alias)
    rolled_back = valkey.keys("rq:*")
    work()
    ran = list(calls)

    with transaction.atomic(using=alias):
        event_id = WAYS_IN[way](alias)

    assert (rolled_back, ran) == ([], [])
    assert valkey.keys("rq:job:*") == [f"rq:job:{event_id}".encode()]


def test_two_publishes_with_one_key_publish_once(valkey: Redis, work: Work) -> None:
    ids = []
    for _ in range(2):
        with transaction.atomic():
            ids.append(publish(DOOR_OPENED, {"door": 7}, idempotency_key="door 7"))
            ids.append(publish(DOOR_OPENED, {"door": 7}, idempotency_key="door 7"))
    work("events")
    ids.append(publish(DOOR_OPENED, {"door": 7}, idempotency_key="door 7"))
    work("events")

    assert len(set(ids)) == 1
    assert sorted(calls) == ["greet", "ring", "unlock"]
    assert get_event_stats().topics["door.opened"].published == 1
    assert get_queue_stats().main.waiting == 2
