"""What a worker does with a mail to somebody who has left."""

from __future__ import annotations

import json
import re

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from redis import Redis

from emailqueue import get_queue_stats, queue_email
from emailqueue.events.places import Place, find_places
from emailqueue.models import DeadLetter, Subscription
from emailqueue.redis import connect
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.subscriptions import ADA, JOIN, subscribe

State = Subscription.State
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("newsletter"), pytest.mark.postgresql]


@pytest.mark.django_db(transaction=True)
def test_a_worker_skips_it_too(valkey: Redis, mailbox: MailServer, work: Work) -> None:
    Subscription.objects.suppress(ADA, State.UNSUBSCRIBED, email_type="newsletter")
    job_id = queue_email("newsletter", ADA, JOIN)

    work()

    places = find_places([job_id], connection=connect())
    assert (mailbox.attempts, get_queue_stats().main.skipped) == ([], 1)
    assert (places[job_id].place, subscribe().skipped) == (Place.SKIPPED, 1)
    assert valkey.hget("emailqueue:counters", "skipped=newsletter") == b"1"


@pytest.mark.usefixtures("mailbox")
def test_the_page_of_statistics_tells_of_skipped_mails(valkey: Redis, admin_client: Client) -> None:
    for what, number in (("completed", 11), ("skipped", 22), ("failed", 33)):
        valkey.hset("emailqueue:counters", f"normal:{what}", number)

    page = admin_client.get(reverse("admin:emailqueue_stats")).content.decode()

    panel = page.partition('id="panel-queues"')[2].partition("</table>")[0]
    columns = re.findall(r"<th[^>]*>([^<]+)</th>", panel.partition("</thead>")[0])
    row = re.search(r'<tr><th scope="row">normal</th>(.*?)</tr>', panel, re.DOTALL)
    assert row is not None
    figures = dict(zip(columns[1:], re.findall(r"<td>([^<]*)</td>", row[1]), strict=True))
    assert (figures["sent"], figures["skipped"], figures["dead-lettered"]) == ("11", "22", "33")


@pytest.mark.django_db(transaction=True)
def test_a_worker_waits_for_a_database_that_is_away(
    valkey: Redis, mailbox: MailServer, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queue_email("newsletter", ADA, JOIN, attempts=1)

    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "NAME", "/nowhere/away")  # what its threads connect to
        work()
    fields = [valkey.hget(f"rq:job:{job_id}", name) for name in ("place", "history")]
    work(seconds=10)

    history = json.loads(fields[1] or "[]")
    assert (fields[0], [entry["kind"] for entry in history]) == (b"scheduled", ["away"])
    assert not any(entry["charged"] for entry in history)
    assert [mail.recipient for mail in mailbox.messages] == [ADA]
    assert not DeadLetter.objects.exists()
