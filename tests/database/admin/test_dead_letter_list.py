from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from emailqueue.dead_letters import counting
from emailqueue.dead_letters.counting import EXACT
from emailqueue.dead_letters.selection import PROBE
from emailqueue.models import DeadLetter, Status
from tests.support.letters import LIST, NOON, act, create, create_many, page, staff


def shown(client: Client, **query: str) -> list[str]:
    """Return the recipients that the list shows, in its order."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return [letter.recipient for letter in answer.context["cl"].result_list]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "recipients"),
    [
        ({"status__exact": "discarded"}, ["bob@two.example"]),
        ({"reason__exact": "exhausted"}, ["bob@two.example"]),
        ({"verdict__exact": "throttle"}, ["bob@two.example"]),
        ({"email_type__exact": "rank-update"}, ["bob@two.example"]),
        ({"email_type__exact": "-"}, [""]),
        ({"smtp_code__exact": "451"}, ["bob@two.example"]),
        ({"smtp_code__exact": "9" * 30}, []),
        ({"smtp_code__exact": "abc"}, []),
        ({"recipient_domain__exact": "TWO.example"}, ["bob@two.example"]),
        ({"died": "hour"}, ["bob@two.example"]),
        ({"died": "month"}, ["bob@two.example"]),
        ({"died": "never"}, ["bob@two.example", "", "ada@one.example"]),
        ({"q": "BOB@"}, ["bob@two.example"]),
        ({"q": "job-1"}, ["ada@one.example"]),
        ({"q": "550 No  such"}, ["", "ada@one.example"]),
        ({"q": "Refused: 451"}, ["bob@two.example"]),
        ({"q": "such mailbox"}, []),
        ({"q": "%"}, []),
        ({"q": "b_b"}, []),
        ({"q": "550", "recipient_domain__exact": "one.example"}, ["ada@one.example"]),
        ({"q": "bob", "status__exact": "open"}, []),
    ],
)
def test_filters_and_search_find_by_beginnings(query: dict[str, str], recipients: list[str]) -> None:
    create(1, recipient="Ada@one.example".lower())
    create(2, recipient="", email_type="", label="vote.created", dead_lettered_at=NOON + timedelta(days=1))
    create(
        3,
        recipient="bob@two.example",
        email_type="rank-update",
        reason="exhausted",
        verdict="throttle",
        smtp_code=451,
        message="451 later",
        status=Status.DISCARDED,
        dead_lettered_at=timezone.now(),
    )

    found = shown(staff("view"), **query)

    assert found == recipients


@pytest.mark.django_db
def test_addresses_are_found_whatever_their_case() -> None:
    create(1, recipient="Ada@Example.COM")
    client = staff("view")

    assert shown(client, q="aDa@eX") == ["Ada@Example.COM"]
    assert shown(client, recipient_domain__exact="example.com") == ["Ada@Example.COM"]


@pytest.mark.django_db
def test_a_filter_that_a_bulk_action_would_not_heed_is_refused() -> None:
    create(1)

    answer = staff("view").get(LIST, {"recipient__contains": "ada"})

    assert answer.status_code == 400


@pytest.mark.django_db
def test_a_search_that_finds_too_many_still_obeys_the_filters() -> None:
    create_many(PROBE + 1, recipient="ada@many.example", status=Status.SENT)
    create(1)
    create(2, recipient="bob@example.com")

    found = shown(staff("view"), q="ada", status__exact="open")

    assert found == ["ada1@example.com"]


@pytest.mark.django_db
def test_large_numbers_are_told_as_what_they_are() -> None:
    client = staff("view")
    create_many(EXACT)
    exact = client.get(LIST).content.decode()
    create(1)

    about = client.get(LIST).content.decode()
    filtered = client.get(LIST, {"status__exact": "open"}).content.decode()
    one = client.get(LIST, {"q": "ada1@"}).content.decode()

    assert "10,000 dead letters" in exact
    assert re.search(r"about 10,\d{3} dead letters; the newest 10,000 can be paged through", about)
    assert re.search(r"more than 10,000 of about 10,\d{3} dead letters", filtered)
    assert "1 dead letter" in one


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", [{}, {"q": "ada"}, {"status__exact": "open", "smtp_code__exact": "550", "died": "month"}]
)
def test_the_list_costs_a_fixed_number_of_queries(
    query: dict[str, str], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = staff("view", "retry", "discard", "export")
    create(1, dead_lettered_at=timezone.now())
    client.get(LIST, query)
    with CaptureQueriesContext(connection) as alone:
        client.get(LIST, query)
    for number in range(2, 40):
        create(number, dead_lettered_at=timezone.now())

    with django_assert_max_num_queries(len(alone)):
        answer = client.get(LIST, query)

    assert len(answer.context["cl"].result_list) == 39
    assert len(alone) <= 12


@pytest.mark.django_db
def test_the_letter_page_costs_a_fixed_number_of_queries(django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    client = staff("view", "retry", "discard", "view_body")
    letter = create(1)
    for number in range(2, 20):
        create(number, recipient=letter.recipient)
    client.get(page(letter))

    with django_assert_max_num_queries(10):
        answer = client.get(page(letter))

    assert answer.status_code == 200


@pytest.mark.django_db
def test_every_way_to_narrow_the_list_has_an_index() -> None:
    """What the planner makes of it at a million rows, benchmarks/letters.py measures."""
    leading = {index.fields[0].lstrip("-") for index in DeadLetter._meta.indexes}
    leading |= {field.name for field in DeadLetter._meta.local_fields if getattr(field, "db_index", False)}

    columns = {"status", "reason", "verdict", "email_type", "smtp_code", "recipient_domain", "dead_lettered_at"}
    assert leading >= columns | {"recipient_key", "job_id", "error_key"}


@pytest.mark.django_db
def test_a_database_that_estimates_nothing_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "ESTIMATES", {})
    create_many(3)

    assert counting.table_size("default") == 3


@pytest.mark.django_db
@pytest.mark.parametrize(("reason", "warned"), [("", True), ("ambiguous", True), ("expired", False)])
def test_a_retry_of_all_warns_of_mails_that_may_arrive_twice(reason: str, *, warned: bool) -> None:
    letter = create(1, reason=reason or "expired")
    form = {"action": "retry", "_selected_action": letter.pk, "select_across": "1", "index": "0"}

    asked = staff("view", "retry").post(f"{LIST}?reason__exact={reason}", form).content.decode()

    assert ("may arrive twice" in asked) is warned


@pytest.mark.django_db
def test_an_action_that_could_change_nothing_says_only_why() -> None:
    text = act(staff("view", "retry"), "retry", create(1, status=Status.SENT))

    assert "1 dead letter was not changed: Dead letter" in text
    assert "is being retried" not in text
