from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from emailqueue.errors import InvalidAge
from emailqueue.housekeeping.retention import BATCH, CLOSED, age, purge
from emailqueue.models import Attempt, DeadLetter, Status
from emailqueue.models.bulk_action import BulkAction
from tests.support.letters import create, create_many

LONG_AGO = timezone.now() - timedelta(days=91)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("emailqueue", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_letters_that_were_closed_long_ago_are_deleted_and_no_others() -> None:
    for number, status in enumerate(Status.values):
        create(number, status=status, closed_at=LONG_AGO)
    create(10, status=Status.SENT, closed_at=timezone.now() - timedelta(days=89))
    create(11, status=Status.OPEN, dead_lettered_at=LONG_AGO)
    BulkAction.objects.create(action="retry", state="done", finished_at=LONG_AGO)
    BulkAction.objects.create(action="retry")

    told = run("purge")

    assert told == "Deleted 3 closed dead letters with 3 attempts, and 1 ended bulk actions, all older than 90d.\n"
    assert sorted(DeadLetter.objects.values_list("status", flat=True)) == ["open", "open", "retrying", "sent"]
    assert Attempt.objects.count() == 4
    assert BulkAction.objects.count() == 1


@pytest.mark.django_db
def test_a_purge_takes_all_of_them_a_batch_at_a_time() -> None:
    create_many(2 * BATCH + 1, status=Status.DISCARDED, closed_at=LONG_AGO)

    with CaptureQueriesContext(connection) as queries:
        purged = purge(older_than=timedelta(days=30))

    assert purged.dead_letters == 2 * BATCH + 1
    assert sum(query["sql"].startswith("SAVEPOINT") for query in queries) == 3  # as a transaction is told of in a test


@pytest.mark.parametrize(
    ("text", "meant"), [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), (" 2w", timedelta(weeks=2))]
)
def test_an_age_has_a_unit(text: str, meant: timedelta) -> None:
    assert age(text) == meant


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5d", "100000w"])
def test_anything_else_is_no_age(text: str) -> None:
    with pytest.raises(InvalidAge, match="for example 90d"):
        age(text)


def test_the_command_says_what_is_wrong() -> None:
    with pytest.raises(CommandError, match="'soon' is not an age"):
        run("purge", "--older-than", "soon")
    with pytest.raises(CommandError):
        run("destroy")


def test_what_is_closed_is_every_final_status() -> None:
    assert {*CLOSED, Status.OPEN, Status.RETRYING} == set(Status)
