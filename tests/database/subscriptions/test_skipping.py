"""What becomes of a mail to somebody who has left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError, connection
from django.db.models import Model
from django.test import Client
from pytest_django import Settings

from emailqueue import queue_email
from emailqueue.models import Reason, Subscription
from emailqueue.testing import EmailQueue
from events.emails import queue_referral_join
from tests.support.subscriptions import ADA, JOIN, Replica, subscribe

State = Subscription.State
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("newsletter")]


def test_other_mails_go_out_to_who_has_unsubscribed(email_queue: EmailQueue) -> None:
    Subscription.objects.suppress(ADA, State.COMPLAINED)
    queue_referral_join(ADA, JOIN)

    assert email_queue.drain().sent == 1


def test_the_retry_of_a_letter_to_who_has_unsubscribed_is_a_letter_again(email_queue: EmailQueue) -> None:
    email_queue.mail_server("550 5.1.1 no such mailbox")
    queue_email("newsletter", ADA, JOIN)
    (letter,) = email_queue.drain().dead
    subscribe().become(State.UNSUBSCRIBED)

    letter.retry()
    (second,) = email_queue.drain().dead

    assert (second.reason, second.redrives) == (Reason.PERMANENT, letter.pk)
    assert "has unsubscribed" in second.message


def test_who_leaves_is_looked_up_where_rows_are_written(email_queue: EmailQueue, settings: Settings) -> None:
    path = urlsplit(subscribe().url()).path
    settings.DATABASE_ROUTERS = [Replica()]
    queue_email("newsletter", ADA, JOIN)

    answer = Client().post(path)
    drained = email_queue.drain()

    assert (answer.status_code, "You are unsubscribed" in answer.content.decode()) == (200, True)
    assert (drained.skipped, drained.sent, drained.dead) == (1, 0, [])


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_costs_no_mail_an_attempt(email_queue: EmailQueue) -> None:
    queue_email("newsletter", ADA, JOIN, attempts=1)

    with table_away(Subscription):
        away = email_queue.drain()
    back = email_queue.drain()

    assert (away.sent, away.retries, away.dead, away.uncharged) == (0, 0, [], 4)
    assert (back.sent, back.dead) == (1, [])


@contextmanager
def table_away(model: type[Model]) -> Iterator[None]:
    """Have the database refuse the table, as it refuses all of them when it is away."""
    table = model._meta.db_table

    def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if table in sql:
            raise OperationalError("server closed the connection unexpectedly")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.parametrize("first", [State.BOUNCED, State.BLOCKED])
def test_what_a_person_asked_for_outlives_what_was_there_before(first: State) -> None:
    Subscription.objects.suppress(ADA, first, detail="first")

    Subscription.objects.suppress(ADA.lower(), State.UNSUBSCRIBED, detail="second")
    Subscription.objects.suppress(ADA, State.UNSUBSCRIBED, detail="third")
    Subscription.objects.suppress(ADA, first, detail="fourth")

    row = Subscription.objects.get()
    assert (row.state, row.detail) == (State.UNSUBSCRIBED, "first\nsecond")


def test_mails_of_one_type_stay_away_when_the_others_come_again() -> None:
    subscribe().become(State.UNSUBSCRIBED)
    Subscription.objects.suppress(ADA, State.BOUNCED)

    Subscription.objects.get(email_type="").become(State.ACTIVE)

    assert subscribe().state == State.UNSUBSCRIBED
