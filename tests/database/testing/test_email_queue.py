"""What a test of a project sees of the mails that it queued."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage

import emailqueue.testing
from emailqueue import (
    EmailType,
    Priority,
    cancel_email,
    email_types,
    get_queue_stats,
    queue_bulk_emails,
    queue_email,
    register,
    reschedule_email,
    schedule_email,
)
from emailqueue.backends import QueuedEmailBackend
from emailqueue.errors import InvalidContext, InvalidLanguage, InvalidPriority, InvalidTime, UnknownEmailType
from emailqueue.events import publish
from emailqueue.testing import EmailQueue
from events import queue_rank_update, queue_referral_join, queue_reward_delivery, topics
from events.emails import REWARD_DELIVERY

BADGE = {"reward_name": "Badge"}

RANK = {"model_name": "GPT", "rank_position": 1, "previous_rank": 2, "vote_count": 3}


@dataclass(frozen=True)
class Invitation:
    at: datetime
    guests: list[str] = field(default_factory=list)
    note: str | None = None


@pytest.fixture
def invitation() -> Iterator[EmailType]:
    """An e-mail type whose context holds a date."""
    yield register(EmailType(name="invitation", template="invitation.html", context=Invitation))
    email_types._registry.pop("invitation")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"to": "ada@example.com"},
        {"context": {"reward_name": "Badge"}},
        {"priority": "high"},
        {"priority": Priority.HIGH},
        {"delay": 60},
        {"delay": timedelta(minutes=1)},
    ],
)
def test_a_mail_fits_what_it_is(email_queue: EmailQueue, said: dict[str, object]) -> None:
    job_id = queue_reward_delivery("ada@example.com", BADGE, delay=60)

    found = email_queue.assert_queued(REWARD_DELIVERY, **said)  # type: ignore[arg-type]  # each of its type

    assert (found.job_id, found.attempts) == (job_id, 3)
    with pytest.raises(AssertionError, match="A mail was queued with"):
        email_queue.assert_not_queued("reward-delivery", **said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        {"email_type": "rank-update"},
        {"to": "mary@example.com"},
        {"context": {"reward_name": "Gold"}},
        {"context": {"reward_value": None}},
        {"priority": 1},
        {"delay": 0},
        {"delay": 61},
        {"at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"count": 2},
    ],
)
def test_a_mail_does_not_fit_what_it_is_not(email_queue: EmailQueue, said: dict[str, object]) -> None:
    queue_reward_delivery("ada@example.com", BADGE, delay=60)

    with pytest.raises(AssertionError) as raised:
        email_queue.assert_queued(**said)  # type: ignore[arg-type]  # each of its type

    assert "reward-delivery to ada@example.com, high" in str(raised.value)


def test_a_mail_is_found_by_the_time_at_which_it_is_due(email_queue: EmailQueue) -> None:
    at = datetime(2126, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
    schedule_email("reward-delivery", "ada@example.com", BADGE, at)

    email_queue.assert_queued(at=at)

    email_queue.assert_not_queued(at=at + timedelta(seconds=1))


def test_cancelled_mails_are_gone_and_moved_ones_have_their_new_time(email_queue: EmailQueue) -> None:
    cancelled, moved = (queue_reward_delivery(f"{name}@example.com", BADGE, delay=60) for name in ("ada", "mary"))
    at = datetime(2126, 5, 4, tzinfo=UTC)

    assert (cancel_email(cancelled), reschedule_email(moved, at)) == (True, True)

    assert [(email.job_id, email.due) for email in email_queue.emails] == [(moved, at)]


def test_mails_stay_listed_after_they_went_out_in_the_order_of_their_calls(email_queue: EmailQueue) -> None:
    queue_referral_join("low@example.com", {"user_name": "Ada"})
    queue_rank_update("critical@example.com", RANK)
    queue_reward_delivery("later@example.com", BADGE, delay=60)

    email_queue.drain()

    assert [message.to[0] for message in mail.outbox] == ["critical@example.com", "low@example.com"]
    assert [email.to for email in email_queue.emails] == [
        "low@example.com",
        "critical@example.com",
        "later@example.com",
    ]
    assert [email.to for email in email_queue.waiting] == ["later@example.com"]


def test_scheduled_mails_go_out_in_the_order_of_time(email_queue: EmailQueue) -> None:
    queue_rank_update("third@example.com", RANK, delay=3 * 3600)
    queue_referral_join("second@example.com", {"user_name": "Ada"}, delay=2 * 3600)
    queue_reward_delivery("first@example.com", BADGE, delay=3600)

    drained = email_queue.drain(until=datetime.now(UTC) + timedelta(hours=2, minutes=1))

    assert drained.sent == 2
    assert [message.to[0] for message in mail.outbox] == ["first@example.com", "second@example.com"]


@pytest.mark.django_db
def test_a_bulk_call_of_several_pieces_goes_out_whole(email_queue: EmailQueue) -> None:
    recipients = [f"user{number}@example.com" for number in range(600)]
    queue_bulk_emails("reward-delivery", recipients, BADGE)

    queued, drained = email_queue.find("reward-delivery"), email_queue.drain()

    assert [email.to for email in queued] == recipients
    assert drained.sent == 600
    assert get_queue_stats().main.completed == 600


def test_each_queue_is_a_new_one() -> None:
    with EmailQueue() as first:
        queue_reward_delivery("ada@example.com", BADGE)
    with EmailQueue() as second:
        second.assert_not_queued()

    first.assert_queued("reward-delivery")


@pytest.mark.django_db
def test_queues_of_one_transaction_share_nothing() -> None:
    with EmailQueue() as first:
        queue_reward_delivery("ada@example.com", BADGE)
        first.assert_queued("reward-delivery")
        with EmailQueue() as inner:
            inner.assert_not_queued()
            queue_reward_delivery("mary@example.com", BADGE)
            inner.assert_queued("reward-delivery", to="mary@example.com", count=1)
        first.assert_not_queued(to="mary@example.com")
    with EmailQueue() as second:
        second.assert_not_queued()


@pytest.mark.parametrize(
    ("said", "raised", "told"),
    [
        ({"email_type": "reward-delivry"}, UnknownEmailType, "reward-delivry"),
        ({"email_type": "reward-delivery", "context": {"reward_nam": "Badge"}}, InvalidContext, "reward_name"),
        ({"to": ["ada@example.com"]}, TypeError, "to is"),
        ({"priority": "hihg"}, InvalidPriority, "hihg"),
        ({"at": datetime(2026, 1, 1)}, InvalidTime, "aware"),  # noqa: DTZ001  the point
        ({"delay": -1}, InvalidTime, "-1"),
        ({"language": "tlh"}, InvalidLanguage, "tlh"),
        ({"recipient": "ada@example.com"}, TypeError, "Say any of to, context"),
    ],
)
def test_what_no_mail_can_be_is_refused(
    email_queue: EmailQueue, said: dict[str, Any], raised: type[Exception], told: str
) -> None:
    with pytest.raises(raised, match=told):
        email_queue.assert_not_queued(**said)


def test_none_at_all_is_said_otherwise(email_queue: EmailQueue) -> None:
    with pytest.raises(ValueError, match="assert_not_queued"):
        email_queue.assert_queued(count=0)


def test_a_death_without_a_database_is_told_so(email_queue: EmailQueue, broken: EmailType) -> None:
    queue_email("broken", "ada@example.com", {}, attempts=1)

    with pytest.raises(RuntimeError, match=r"django_db"):
        email_queue.drain()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, pytest.fail.Exception])
def test_who_stops_the_test_stops_the_drain(db: None, email_queue: EmailQueue, interrupt: type[BaseException]) -> None:
    def stop(**_kwargs: object) -> None:
        raise interrupt

    topics.USER_REGISTERED.connect(stop, dispatch_uid="stop")
    publish("user.registered", {"user_email": "ada@example.com", "user_name": "Ada"})
    try:
        with pytest.raises(interrupt):
            email_queue.drain()
    finally:
        topics.USER_REGISTERED.disconnect(dispatch_uid="stop")


def test_djangos_own_mail_arrives_as_it_was_written(db: None, email_queue: EmailQueue) -> None:
    message = EmailMessage("Hello", "Body", "shop@example.com", ["Ada <ada@example.com>"], reply_to=["re@example.com"])
    message.attach("a.txt", "text", "text/plain")
    QueuedEmailBackend().send_messages([message])

    queued = email_queue.assert_queued("message", to="ada@example.com", subject="Hello")
    email_queue.drain()

    (sent,) = mail.outbox
    assert (queued.subject, sent.subject, sent.body) == ("Hello", "Hello", "Body")
    assert (sent.to, sent.cc, sent.bcc, sent.reply_to) == (["Ada <ada@example.com>"], [], [], ["re@example.com"])
    assert [(name, content) for name, content, _type in sent.attachments] == [("a.txt", "text")]


def test_what_was_queued_is_found_by_the_same_values(email_queue: EmailQueue, invitation: EmailType) -> None:
    noon = datetime(2031, 5, 4, 12, tzinfo=UTC)
    queue_email("invitation", "ada@example.com", Invitation(noon, guests=["Grace"]))

    email_queue.assert_queued("invitation", context={"at": noon})
    email_queue.assert_queued("invitation", context={"at": "2031-05-04T12:00:00+00:00"})
    email_queue.assert_queued("invitation", context=Invitation(noon, guests=["Grace"]))
    email_queue.assert_not_queued("invitation", context=Invitation(noon, guests=["Grace"], note="Hi"))
    email_queue.assert_not_queued("invitation", context={"at": noon + timedelta(hours=1)})
    with pytest.raises(InvalidContext, match="'at' of 'invitation' is 'noon'"):
        email_queue.assert_not_queued("invitation", context={"at": "noon"})


def test_another_call_for_a_mail_server_sets_other_replies(db: None, email_queue: EmailQueue) -> None:
    server = email_queue.mail_server("550 5.1.1 no such mailbox")

    assert email_queue.mail_server("250") is server
    queue_reward_delivery("ada@example.com", BADGE)
    assert email_queue.drain().sent == 1


@pytest.mark.parametrize("package", ["fakeredis", "lupa"])
def test_the_kit_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ImproperlyConfigured, match=r'Run pip install "django-emailqueue\[testing\]"'):
        EmailQueue().__enter__()


def test_the_kit_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match=r"module 'emailqueue\.testing' has no attribute 'Mailserver'"):
        _ = emailqueue.testing.Mailserver
