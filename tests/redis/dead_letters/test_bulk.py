from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from redis import Redis

from emailqueue.dead_letters import actions
from emailqueue.dead_letters import bulk as bulk_run
from emailqueue.dead_letters.selection import Selection
from emailqueue.email_types import _registry
from emailqueue.housekeeping.thread import Housekeeper
from emailqueue.jobs.functions import DELIVER
from emailqueue.models import DeadLetter, Status
from emailqueue.models.bulk_action import BulkAction
from emailqueue.testing.mailserver import MailServer
from events.emails import VOTE_CONFIRMATION
from tests.conftest import Work, eventually
from tests.support.letters import LIST, create, create_many, staff

pytestmark = pytest.mark.postgresql


def bulk_page(bulk: BulkAction, page: str = "change") -> str:
    return reverse(f"admin:emailqueue_bulkaction_{page}", args=[bulk.pk])


def ask(client: Client, action: str, query: str = "", **fields: str) -> Any:
    letter = DeadLetter.objects.order_by("-dead_lettered_at", "pk").values_list("pk", flat=True)[0]
    content = {"action": action, "_selected_action": letter, "select_across": "1", "index": "0"}
    return client.post(LIST + query, {**content, **fields})


def work_off(*, steps: int = 100) -> int:
    """Take steps without waiting for their time, and return how many there were."""
    taken = 0
    while taken < steps and bulk_run.work():
        BulkAction.objects.update(next_step_at=timezone.now())
        taken += 1
    return taken


def begun(user: Any, action: str = "retry", selection: Selection | None = None, **options: Any) -> BulkAction:
    return bulk_run.start(action, selection or Selection(), user=user, **options)


@pytest.fixture
def admin(transactional_db: None) -> User:
    return User.objects.create_superuser("root")


@pytest.mark.django_db(transaction=True)
def test_all_that_match_are_retried_in_the_background(valkey: Redis) -> None:
    create(1, recipient="ada@one.example")
    create(2, recipient="bob@one.example", status=Status.DISCARDED)
    create(3, recipient="eve@two.example")
    client = staff("view", "retry")

    asked = ask(client, "retry", "?recipient_domain__exact=one.example").content.decode()
    started = ask(client, "retry", "?recipient_domain__exact=one.example", confirmed="1")
    before = valkey.llen("rq:queue:normal")
    work_off()

    bulk = BulkAction.objects.get()
    assert "2 dead letters match." in asked
    assert "one.example" in asked
    assert "may arrive twice" in asked
    assert started.headers["Location"] == bulk_page(bulk)
    assert before == 0
    assert (bulk.state, bulk.done, bulk.refused, bulk.scanned, bulk.user_name) == ("done", 1, 0, 3, "mary")
    assert valkey.llen("rq:queue:normal") == 1
    assert DeadLetter.objects.get(recipient="ada@one.example").status == Status.RETRYING
    messages = list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))
    assert messages == [f"Bulk action {bulk.pk} started: retry (domain: one.example)", "Retried."]


@pytest.mark.django_db(transaction=True)
def test_all_that_match_are_discarded_with_one_reason(valkey: Redis) -> None:
    create_many(1200)
    client = staff("view", "discard")

    without = ask(client, "discard", confirmed="1", reason=" ").content.decode()
    ask(client, "discard", confirmed="1", reason="a bad import")
    steps = work_off()

    assert "This field is required." in without
    assert BulkAction.objects.get().done == 1200
    assert set(DeadLetter.objects.values_list("status", "discard_reason")) == {("discarded", "a bad import")}
    assert steps >= 1200 / 50


@pytest.mark.django_db(transaction=True)
def test_a_step_takes_a_bounded_number_and_the_next_has_to_wait(
    admin: User, valkey: Redis, queue_settings: Callable[..., None]
) -> None:
    queue_settings(BULK_RATE="7/s")
    create_many(20)
    bulk = begun(admin, "discard", reason="no")

    active = [bulk_run.work(), bulk_run.work()]

    bulk.refresh_from_db()
    assert active == [True, True]
    assert (bulk.done, bulk.state) == (7, "running")
    assert bulk.next_step_at > timezone.now()


@pytest.mark.django_db(transaction=True)
def test_stop_stops_it_at_once(valkey: Redis) -> None:
    create_many(120)
    client = staff("view", "discard")
    ask(client, "discard", confirmed="1", reason="no")
    bulk = BulkAction.objects.get()
    work_off(steps=1)
    done = DeadLetter.objects.exclude(pk__in=DeadLetter.objects.open()).count()

    page = client.get(bulk_page(bulk)).content.decode()
    stopped = client.post(bulk_page(bulk, "stop"), follow=True).content.decode()
    again = client.post(bulk_page(bulk, "stop"), follow=True).content.decode()
    work_off()

    bulk.refresh_from_db()
    assert f'action="{bulk_page(bulk, "stop")}"' in page
    assert "Stopped." in stopped
    assert "It had already ended." in again
    assert "data-refresh-end" in stopped
    assert (bulk.state, bulk.done) == ("stopped", done)
    assert 0 < done <= 50  # fewer where a step ran out of time
    assert DeadLetter.objects.open().count() == 120 - done
    assert LogEntry.objects.order_by("-pk")[0].change_message == f"Bulk action {bulk.pk} stopped."


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_died_in_a_step_leaves_the_rest_to_another(admin: User, valkey: Redis) -> None:
    create_many(60)
    bulk = begun(admin, "discard", reason="no")
    BulkAction.objects.filter(pk=bulk.pk).update(
        state="running", next_step_at=timezone.now() + timedelta(seconds=bulk_run.PATIENCE)
    )
    for letter in DeadLetter.objects.order_by("pk")[:10]:  # the dead one's, of which it wrote nothing
        actions.discard(letter, user_pk=admin.pk, reason="no")

    early = bulk_run.work()
    untouched = DeadLetter.objects.open().count()
    BulkAction.objects.update(next_step_at=timezone.now())
    work_off()

    bulk.refresh_from_db()
    assert (early, untouched) == (True, 50)
    assert (bulk.state, bulk.done) == ("done", 50)


@pytest.mark.django_db(transaction=True)
def test_letters_that_die_later_are_not_part_of_it(admin: User, valkey: Redis) -> None:
    create(1)
    bulk = begun(admin)
    create(2, dead_lettered_at=timezone.now() + timedelta(seconds=1))

    work_off()

    bulk.refresh_from_db()
    assert bulk.done == 1
    assert DeadLetter.objects.open().get().job_id == "job-2"


@pytest.mark.django_db(transaction=True)
def test_letters_that_refuse_are_counted_and_hold_up_nobody(admin: User, valkey: Redis) -> None:
    create(1)
    create(2, arguments=None)
    create(3)
    bulk = begun(admin)

    work_off()

    bulk.refresh_from_db()
    assert (bulk.state, bulk.done, bulk.refused) == ("done", 2, 1)
    assert "holds a job that cannot be read" in bulk.last_error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("stale_too", "done", "refused"), [(False, 1, 1), (True, 2, 0)])
def test_mails_that_are_out_of_date_wait_for_a_word(
    admin: User, valkey: Redis, monkeypatch: pytest.MonkeyPatch, *, stale_too: bool, done: int, refused: int
) -> None:
    monkeypatch.setitem(_registry, "vote-confirmation", replace(VOTE_CONFIRMATION, stale_after=timedelta(hours=1)))
    create(1)
    create(2, dead_lettered_at=timezone.now())
    bulk = begun(admin, stale_too=stale_too)

    work_off()

    bulk.refresh_from_db()
    assert (bulk.done, bulk.refused) == (done, refused)
    assert ("is out of date" in bulk.last_error) is not stale_too


@pytest.mark.django_db(transaction=True)
def test_who_lost_the_permission_changes_nothing_any_more(valkey: Redis) -> None:
    create(1)
    ask(staff("view", "retry"), "retry", confirmed="1")
    User.objects.get().user_permissions.clear()

    work_off()

    bulk = BulkAction.objects.get()
    assert (bulk.state, bulk.done) == ("failed", 0)
    assert "no longer has the permission" in bulk.last_error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("permissions", "seen", "stopped"), [((), 403, 403), (("view",), 200, 403)])
def test_a_bulk_action_needs_the_permissions_of_its_action(
    valkey: Redis, permissions: tuple[str, ...], seen: int, stopped: int
) -> None:
    create(1)
    bulk = begun(User.objects.create_superuser("root"))
    client = staff(*permissions)

    page = client.get(bulk_page(bulk))
    codes = [page.status_code, client.post(bulk_page(bulk, "stop")).status_code]
    ask(client, "discard", confirmed="1", reason="no")

    assert codes == [seen, stopped]
    assert bulk_page(bulk, "stop") not in page.content.decode()
    assert BulkAction.objects.get().active


@pytest.mark.django_db(transaction=True)
def test_the_memory_of_a_step_does_not_grow_with_the_table(admin: User, valkey: Redis) -> None:
    create_many(5000, status=Status.SENT)
    begun(admin)

    with CaptureQueriesContext(connection) as queries:
        bulk_run.work()

    reading = [query["sql"] for query in queries if '"emailqueue_deadletter"."id" >' in query["sql"]]
    assert len(reading) >= 5
    assert all(re.search(rf"LIMIT {bulk_run.WINDOW}\b", sql) for sql in reading)
    assert all("arguments" not in sql for sql in reading)


@pytest.mark.django_db(transaction=True)
def test_the_worker_does_it_and_the_mails_arrive(valkey: Redis, mailbox: MailServer, work: Work, admin: User) -> None:
    create(1)
    create(2)
    bulk = begun(admin)
    housekeeper = Housekeeper(valkey)

    housekeeper.start()
    try:
        eventually(lambda: BulkAction.objects.get().state == "done")
    finally:
        housekeeper.stop()
    work()

    bulk.refresh_from_db()
    assert bulk.done == 2
    assert {mail.recipient for mail in mailbox.messages} == {"ada1@example.com", "ada2@example.com"}


@pytest.mark.django_db(transaction=True)
def test_two_people_who_retry_one_letter_at_the_same_moment_send_one_mail(
    valkey: Redis, mailbox: MailServer, work: Work
) -> None:
    letter = create(1, function=DELIVER)
    clients = [Client(), Client()]
    for number, client in enumerate(clients):
        client.force_login(User.objects.create_superuser(f"root{number}"))
    address = reverse("admin:emailqueue_deadletter_retry", args=[letter.pk])
    edit = reverse("admin:emailqueue_deadletter_edit", args=[letter.pk])
    barrier = threading.Barrier(2)

    def press(client: Client, address: str, fields: dict[str, str]) -> None:
        barrier.wait(10)
        client.post(address, fields)
        connections.close_all()

    fields = {
        "to": "ada@new.example",
        "priority": "3",
        "context": '{"model_name": "X", "profile_url": "https://x.example"}',
    }
    threads = [
        threading.Thread(target=press, args=arguments)
        for arguments in [(clients[0], address, {}), (clients[1], edit, fields)]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    work()

    assert len(mailbox.messages) == 1
    assert LogEntry.objects.count() == 1
