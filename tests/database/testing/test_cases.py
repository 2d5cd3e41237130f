"""The queue in test cases of Django."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.core import mail
from django.db import transaction
from django.test import TestCase

from emailqueue import (
    cancel_email,
    get_queue_stats,
    reschedule_email,
)
from emailqueue.models import DeadLetter
from emailqueue.testing import EmailQueueMixin
from events import queue_reward_delivery

BADGE = {"reward_name": "Badge"}

calls: list[str] = []


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
