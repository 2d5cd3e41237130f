from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail
from pytest_django import Settings
from redis import Redis

from emailqueue.checks.settings import check_alerts
from emailqueue.housekeeping import alerts
from emailqueue.housekeeping.alerts import Digest, send_due
from emailqueue.housekeeping.inbox import move_inbox
from emailqueue.models import DeadLetter
from emailqueue.signals import dead_lettered
from tests.support.deaths import die

pytestmark = pytest.mark.postgresql

told: list[Digest] = []


def own_handler(digest: Digest) -> None:
    told.append(digest)


def failing_handler(digest: Digest) -> None:
    raise RuntimeError("the pager is away")


@pytest.fixture(autouse=True)
def managers(settings: Settings) -> None:
    settings.MANAGERS = ["ops@example.com"] if mail.__dict__.get("mailers") else [("Ops", "ops@example.com")]
    told.clear()


@pytest.fixture
def heard() -> Iterator[list[DeadLetter]]:
    letters: list[DeadLetter] = []

    def hear(*, dead_letter: DeadLetter, **kwargs: object) -> None:
        letters.append(dead_letter)

    dead_lettered.connect(hear)
    yield letters
    dead_lettered.disconnect(hear)


def digests() -> list[str]:
    return [str(message.subject) for message in mail.outbox]


def later(valkey: Redis, key: str) -> None:
    """Let the time pass after which Redis forgets `key`."""
    valkey.delete(key)


@pytest.mark.django_db(transaction=True)
def test_receivers_hear_of_each_new_letter_once(valkey: Redis, heard: list[DeadLetter]) -> None:
    die(valkey, "a" * 32)
    move_inbox(valkey)
    die(valkey, "a" * 32)
    die(valkey, "b" * 32)

    move_inbox(valkey)

    assert [letter.pk for letter in heard] == ["a" * 32, "b" * 32]


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_stops_nothing(valkey: Redis, heard: list[DeadLetter]) -> None:
    def fails(**kwargs: object) -> None:
        raise RuntimeError("no")

    dead_lettered.connect(fails)
    try:
        die(valkey)
        move_inbox(valkey)
    finally:
        dead_lettered.disconnect(fails)

    assert DeadLetter.objects.count() == len(heard) == 1


@pytest.mark.django_db(transaction=True)
def test_the_first_of_a_kind_is_told_at_once_and_the_rest_in_a_digest(valkey: Redis) -> None:
    die(valkey, "a" * 32)
    move_inbox(valkey)
    at_once = send_due(valkey)
    for number in range(5):
        die(valkey, f"b{number:031}")
    move_inbox(valkey)
    quiet = send_due(valkey)
    die(valkey, "c" * 32, label="rank-update")
    move_inbox(valkey)
    new_kind = send_due(valkey)
    die(valkey, "d" * 32)
    move_inbox(valkey)
    still_quiet = send_due(valkey)
    later(valkey, alerts.QUIET)

    digest = send_due(valkey)
    nothing = send_due(valkey)

    assert [at_once, quiet, new_kind, still_quiet, digest, nothing] == [True, False, True, False, True, False]
    assert [subject.removeprefix("[Django] ") for subject in digests()] == [
        "1 dead letter",
        "6 dead letters",
        "1 dead letter",
    ]
    assert "5  vote-confirmation: exhausted" in mail.outbox[1].body
    assert "1  rank-update: exhausted" in mail.outbox[1].body
    assert mail.outbox[0].to == ["ops@example.com"]
    assert "ada@example.com" not in "".join(str(message.message()) for message in mail.outbox)


@pytest.mark.django_db(transaction=True)
def test_the_bounds_end_by_themselves(valkey: Redis) -> None:
    die(valkey)
    move_inbox(valkey)
    send_due(valkey)

    lives: list[Any] = [valkey.ttl(key) for key in (alerts.QUIET, f"{alerts.KNOWN}vote-confirmation\nexhausted")]

    assert 0 < lives[0] <= alerts.EVERY
    assert alerts.EVERY < lives[1] <= alerts.FORGET


@pytest.mark.django_db(transaction=True)
def test_a_project_has_its_own_handler(valkey: Redis, queue_settings: Callable[..., None]) -> None:
    queue_settings(ALERTS=f"{__name__}.own_handler")
    die(valkey)
    move_inbox(valkey)

    send_due(valkey)

    assert told == [Digest(counts={("vote-confirmation", "exhausted"): 1}, first=True)]
    assert digests() == []


@pytest.mark.django_db(transaction=True)
def test_what_could_not_be_told_is_told_later(valkey: Redis, queue_settings: Callable[..., None]) -> None:
    queue_settings(ALERTS=f"{__name__}.failing_handler")
    die(valkey)
    move_inbox(valkey)

    failed = send_due(valkey)
    queue_settings(ALERTS=f"{__name__}.own_handler")
    later(valkey, alerts.QUIET)
    send_due(valkey)

    assert failed is False
    assert told == [Digest(counts={("vote-confirmation", "exhausted"): 1}, first=False)]


@pytest.mark.django_db(transaction=True)
def test_a_handler_that_is_not_there_is_named_by_a_check_and_stops_no_housekeeping(
    valkey: Redis, queue_settings: Callable[..., None]
) -> None:
    queue_settings(ALERTS="nowhere.at_all")
    die(valkey)
    move_inbox(valkey)

    sent = send_due(valkey)
    found = check_alerts()

    assert sent is False
    assert DeadLetter.objects.count() == 1
    assert [message.id for message in found] == ["emailqueue.E021"]
    assert "No module named 'nowhere'" in found[0].msg


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["off", "nobody"])
def test_nobody_is_told_where_nobody_wants_to_know(
    valkey: Redis, how: str, queue_settings: Callable[..., None], settings: Settings
) -> None:
    if how == "off":
        queue_settings(ALERTS="off")
    else:
        settings.MANAGERS = []
    die(valkey)
    move_inbox(valkey)

    assert send_due(valkey) is False
    assert valkey.exists(alerts.PENDING) == 0
