from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db import transaction
from django.test import TestCase

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
from emailqueue.events import publish, subscribe
from emailqueue.events.event import Event
from emailqueue.models import DeadLetter, OutboxRow, Status
from emailqueue.testing import EmailQueue, EmailQueueMixin
from events import queue_rank_update, queue_referral_join, queue_reward_delivery, topics
from events.emails import REWARD_DELIVERY

BADGE = {"reward_name": "Badge"}
RANK = {"model_name": "GPT", "rank_position": 1, "previous_rank": 2, "vote_count": 3}


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


@pytest.fixture
def broken() -> Iterator[EmailType]:
    """An e-mail type without a template."""
    yield register(EmailType(name="broken", template="no-such-template.html"))
    email_types._registry.pop("broken")


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
def test_a_server_that_is_away_holds_mails_until_the_next_drain(email_queue: EmailQueue) -> None:
    server = email_queue.mail_server()
    server.stop()
    for name in ("ada", "mary"):
        queue_reward_delivery(f"{name}@example.com", BADGE)

    away = email_queue.drain()
    waiting = len(email_queue.waiting)
    server.start()
    back = email_queue.drain()

    assert (away.sent, away.held, away.dead, waiting) == (0, 4, [], 2)
    assert (back.sent, len(server.messages)) == (2, 2)


@pytest.mark.django_db
def test_a_domain_that_asks_to_go_slower_gets_its_mails_in_the_end(email_queue: EmailQueue) -> None:
    server = email_queue.mail_server("421 4.7.0 too many, go slower", "421 4.7.0 too many, go slower")
    for name in ("ada", "mary", "eve"):
        queue_reward_delivery(f"{name}@slow.example", BADGE)

    drained = email_queue.drain()

    assert (drained.sent, drained.dead) == (3, [])
    assert drained.held >= 2
    assert len(server.messages) == 3


@pytest.mark.django_db
def test_attempts_are_used_up_without_a_wait(email_queue: EmailQueue) -> None:
    email_queue.mail_server("451", "451", "451", "451")
    queue_reward_delivery("ada@example.com", BADGE, attempts=4)

    drained = email_queue.drain()

    (letter,) = drained.dead
    assert (drained.sent, drained.retries, letter.tries, letter.recipient) == (0, 3, 4, "ada@example.com")
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


class EmailQueueMixinTests(EmailQueueMixin, TestCase):
    def test_functions_of_the_project_are_left_to_django(self) -> None:
        calls: list[int] = []

        def promise() -> None:
            calls.append(1)
            queue_reward_delivery("mary@example.com", BADGE)

        with self.captureOnCommitCallbacks(execute=True):
            queue_reward_delivery("ada@example.com", BADGE)
            transaction.on_commit(promise)
            self.assertEmailQueued(to="ada@example.com")
            self.assertEmailNotQueued(to="mary@example.com")
        self.drain()

        assert calls == [1]
        assert sorted(message.to[0] for message in mail.outbox) == ["ada@example.com", "mary@example.com"]

    def test_an_inner_rollback_takes_only_its_own(self) -> None:
        with transaction.atomic():
            queue_reward_delivery("ada@example.com", BADGE)
            with self.assertRaises(ZeroDivisionError), transaction.atomic():  # noqa: PT027  a TestCase
                queue_reward_delivery("mary@example.com", BADGE)
                raise ZeroDivisionError
            with transaction.atomic():
                queue_reward_delivery("eve@example.com", BADGE)
            self.assertEmailNotQueued()

        assert [email.to for email in self.email_queue.emails] == ["ada@example.com", "eve@example.com"]

    def test_dead_letters_are_rows(self) -> None:
        self.email_queue.mail_server("550 no")
        queue_reward_delivery("ada@example.com", BADGE)

        (letter,) = self.drain().dead

        assert DeadLetter.objects.get() == letter

    def test_calls_see_what_was_queued_before_them(self) -> None:
        cancelled, moved = (queue_reward_delivery(f"{name}@example.com", BADGE, delay=60) for name in ("ada", "mary"))
        at = datetime(2126, 5, 4, tzinfo=UTC)

        assert get_queue_stats().main.delayed == 2
        assert (cancel_email(cancelled), reschedule_email(moved, at)) == (True, True)
        assert [(email.job_id, email.due) for email in self.email_queue.emails] == [(moved, at)]

    def test_a_block_without_a_savepoint_counts_with_the_one_around_it(self) -> None:
        with transaction.atomic():
            with transaction.atomic(savepoint=False):
                queue_reward_delivery("ada@example.com", BADGE)
            self.assertEmailNotQueued()
        with transaction.atomic(savepoint=False):
            self.assertEmailQueued(to="ada@example.com")


class QueuedForTheClassTests(EmailQueueMixin, TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        queue_reward_delivery("ada@example.com", BADGE)

    def test_what_was_queued_before_the_test_is_none_of_its_mails(self) -> None:
        self.assertEmailNotQueued()


class ForgetfulTests(EmailQueueMixin, TestCase):
    def setUp(self) -> None:
        pass

    def test_a_set_up_that_calls_no_other_is_told_so(self) -> None:
        with self.assertRaisesRegex(RuntimeError, r"ForgetfulTests.*super\(\)\.setUp\(\)"):  # noqa: PT027  a TestCase
            self.assertEmailNotQueued()


def test_the_mixin_stands_first() -> None:
    with pytest.raises(TypeError, match=r"class Wrong\(EmailQueueMixin, TestCase\)"):
        type("Wrong", (TestCase, EmailQueueMixin), {})


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
