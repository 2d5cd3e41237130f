"""How staff block an address, and let it have mails again."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from emailqueue.models import Subscription
from tests.support.subscriptions import ADA, KEY, Replica, subscribe

State = Subscription.State
LIST = reverse("admin:emailqueue_subscription_changelist")
ADD = reverse("admin:emailqueue_subscription_add")
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("newsletter")]


def test_staff_block_an_address_where_rows_are_written(settings: Settings) -> None:
    client = staff("add", "view")
    subscribe()
    settings.DATABASE_ROUTERS = [Replica()]

    answer = client.post(ADD, {"address": ADA, "email_type": "newsletter"})

    assert (answer.status_code, subscribe().state) == (302, State.BLOCKED)


def test_the_form_that_blocks_an_address_asks_no_more_than_it_needs() -> None:
    client = staff("add", "view")

    listed = client.get(LIST).content.decode()
    form = client.get(ADD).content.decode()

    assert "Block an address" in listed
    assert "Add subscription" not in listed + form
    assert form.count("Block an address") >= 3  # title, trail, button
    assert [name for name in ("field-state", "field-changed_at", "field-skipped") if name in form] == []


def test_a_list_that_nobody_narrowed_tells_no_results() -> None:
    subscribe()
    client = staff("view")

    whole = client.get(LIST).content.decode()
    found = client.get(LIST, {"q": "nobody"}).content.decode()

    assert ("Show all" in whole, "Show all" in found) == (False, True)


def test_staff_block_an_address_and_let_it_have_mails_again() -> None:
    client = staff("add", "change", "view")

    blocked = client.post(ADD, {"address": "Ada@EXAMPLE.com", "email_type": "", "detail": "asked by phone"})
    row = Subscription.objects.get()
    listed = client.get(LIST, {"q": "ADA@Ex"}).content.decode()
    client.post(LIST, {"action": "allow", "_selected_action": [row.pk]})

    assert (blocked.status_code, row.state, row.address, row.detail) == (302, State.BLOCKED, KEY, "asked by phone")
    assert "blocked by staff" in listed
    row.refresh_from_db()
    assert row.state == State.ACTIVE
    assert LogEntry.objects.filter(object_id=str(row.pk)).count() == 2


@pytest.mark.parametrize(
    "form",
    [
        {"address": "ada", "email_type": ""},
        {"address": "ada@example.com", "email_type": "referral-join"},
    ],
)
def test_what_cannot_be_blocked_is_told(form: dict[str, str]) -> None:
    subscribe()

    page = staff("add", "view").post(ADD, form)

    assert (page.status_code, Subscription.objects.count()) == (200, 1)


def test_an_address_that_gets_mails_is_blocked_by_its_row() -> None:
    row = subscribe()

    answer = staff("add", "view").post(ADD, {"address": ADA, "email_type": "newsletter", "detail": "by phone"})

    row.refresh_from_db()
    assert answer.status_code == 302
    assert (row.state, row.detail, Subscription.objects.count()) == (State.BLOCKED, "by phone", 1)


def test_who_may_only_look_changes_nothing() -> None:
    client, row = staff("view"), subscribe()

    client.post(LIST, {"action": "block", "_selected_action": [row.pk]})
    page = reverse("admin:emailqueue_subscription_change", args=[row.pk])
    answers = [client.get(ADD), client.post(page, {"address": "eve@example.com"}), client.get(page)]

    row.refresh_from_db()
    assert ([answer.status_code for answer in answers], row.state, row.address) == ([403, 403, 200], State.ACTIVE, KEY)


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("mary", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{name}_subscription" for name in permissions]))
    client = Client()
    client.force_login(user)
    return client


def test_the_list_blocks_addresses_and_counts_those_that_it_changed() -> None:
    row = subscribe()
    client = staff("change", "view")

    blocked = client.post(LIST, {"action": "block", "_selected_action": [row.pk]}, follow=True).content.decode()
    again = client.post(LIST, {"action": "block", "_selected_action": [row.pk]}, follow=True).content.decode()

    assert "1 subscription was changed." in blocked
    assert "0 subscriptions were changed." in again
    assert subscribe().state == State.BLOCKED
    assert LogEntry.objects.count() == 1
