from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from redis import Redis

from emailqueue import flow

pytestmark = pytest.mark.django_db
STATS, CONTROL = reverse("admin:emailqueue_stats"), reverse("admin:emailqueue_stats_control")


def staff(*codenames: str) -> Client:
    user = User.objects.create_user("otto", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def test_a_queue_is_paused_and_resumed_with_an_entry_in_the_history(valkey: Redis) -> None:
    client = staff("control_queues")

    paused = client.post(CONTROL, {"pause": "low"}, follow=True).content.decode()
    between = flow.paused_queues()
    resumed = client.post(CONTROL, {"resume": "low"}, follow=True).content.decode()

    assert "Paused: low." in paused
    assert "Resume low" in paused
    assert between == ("low",)
    assert "Pause low" in resumed
    assert flow.paused_queues() == ()
    entries = LogEntry.objects.order_by("pk").values_list("user__username", "change_message")
    assert list(entries) == [("otto", "Paused the queue low."), ("otto", "Resumed the queue low.")]


def test_the_limit_is_set_and_reset(valkey: Redis) -> None:
    client = staff("control_queues")

    shown = client.post(CONTROL, {"limit": "20/s"}, follow=True).content.decode()
    limit = flow.current_limit()
    client.post(CONTROL, {"limit": ""})

    assert limit.rate == 20
    assert 'value="20/s"' in shown
    assert not flow.current_limit().set_by_staff
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize("form", [{"pause": "lowest"}, {"resume": "<b>"}, {"limit": "fast"}])
def test_what_cannot_be_done_is_said_and_changes_nothing(valkey: Redis, form: dict[str, str]) -> None:
    client = staff("control_queues")

    answer = client.post(CONTROL, form, follow=True).content.decode()

    assert "errorlist" in answer or "error" in answer
    assert next(iter(form.values())).replace("<", "&lt;").replace(">", "&gt;") in answer
    assert valkey.hgetall("emailqueue:flow") == {}
    assert not LogEntry.objects.exists()


def test_without_the_permission_there_is_no_button_and_no_address(valkey: Redis) -> None:
    client = staff("view_deadletter", "retry_deadletter")

    page = client.get(STATS).content.decode()
    answer = client.post(CONTROL, {"pause": "low"})

    assert "Pause low" not in page
    assert "control-limit" not in page
    assert answer.status_code == 403
    assert flow.paused_queues() == ()


def test_a_link_cannot_pause_a_queue(valkey: Redis) -> None:
    answer = staff("control_queues").get(CONTROL, {"pause": "low"})

    assert answer.status_code == 405
    assert flow.paused_queues() == ()


def test_the_page_and_its_json_say_what_holds_mail_back(valkey: Redis) -> None:
    valkey.hset("emailqueue:flow", mapping={"outage:mail.example:25": "1700000000 99999999999", "paused:high": "1"})
    valkey.zadd("emailqueue:throttled", {"slow.example": 99999999999})
    client = staff("control_queues")

    page = client.get(STATS).content.decode()
    figures = client.get(reverse("admin:emailqueue_stats_json")).json()

    assert "The mail server mail.example:25 has been away for" in page
    assert "Asked us to slow down: slow.example." in page
    assert figures["paused"] == ["high"]
    assert figures["outages"] == {"mail.example:25": "2023-11-14T22:13:20+00:00"}
    assert list(figures["throttled"]) == ["slow.example"]
