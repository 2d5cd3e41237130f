from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.job import NewJob, new_id
from emailqueue.models import OutboxRow

pytestmark = pytest.mark.django_db
LIST = reverse("admin:emailqueue_outboxrow_changelist")


@pytest.fixture
def viewer(client: Client) -> Client:
    user = User.objects.create_user("vera", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxrow"))
    client.force_login(user)
    return client


def keep(count: int = 1) -> list[str]:
    jobs = [
        NewJob(
            id=new_id(),
            queue="low",
            function="emailqueue.deliver",
            arguments={"email_type": "progress-update", "to": "ada@example.com", "context": {"secret": "4711"}},
            attempts=3,
            backoff=Backoff(),
            label="progress-update",
        )
        for _ in range(count)
    ]
    OutboxRow.objects.keep(jobs, pushed=False)
    return [job.id for job in jobs]


def test_the_outbox_shows_what_waits_but_not_for_whom(viewer: Client) -> None:
    [job_id] = keep()

    listed = viewer.get(LIST).content.decode()
    page = viewer.get(reverse("admin:emailqueue_outboxrow_change", args=[OutboxRow.objects.get().pk])).content.decode()

    for shown in (listed, page):
        assert job_id in shown
        assert "progress-update" in shown
        assert "ada@example.com" not in shown
        assert "4711" not in shown
    assert 'name="_save"' not in page


def test_the_list_of_the_outbox_asks_no_query_for_each_row(
    viewer: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    keep()
    with django_assert_max_num_queries(10) as few:
        viewer.get(LIST)
    keep(50)

    with django_assert_max_num_queries(len(few)):
        viewer.get(LIST)


def test_without_the_permission_there_is_no_outbox(client: Client) -> None:
    client.force_login(User.objects.create_user("stan", is_staff=True))

    assert client.get(LIST).status_code == 403
