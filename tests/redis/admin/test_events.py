"""The admin page of event trails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from redis import Redis

from emailqueue import queue_bulk_emails
from emailqueue.events import Event, Topic, publish, subscribe, subscribe_email
from emailqueue.events.trail import read_trail
from emailqueue.models import DeadLetter
from emailqueue.redis import rq_queues
from tests.conftest import Work

PAGE = reverse("admin:emailqueue_eventtrail_changelist")
XSS = "<script>alert(1)</script>"


@dataclass(frozen=True, kw_only=True)
class LampLit:
    lamp: str
    fans: list[str]


LAMP_LIT = Topic("lamp.lit", payload=LampLit)


def stumble(event: Event) -> None:
    raise ConnectionError(event.lamp)


def relight(event: Event) -> None:
    if event.lamp != "again":
        publish(LAMP_LIT, {"lamp": "again", "fans": []})


def tell(event: Event) -> None:
    queue_bulk_emails("reward-delivery", event.fans, {"reward_name": "Mug"})


@pytest.fixture(autouse=True)
def _nobody_subscribes() -> Iterator[None]:
    yield
    LAMP_LIT.receivers.clear()


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("mary", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, given: str) -> str:
    return client.get(PAGE, {"id": given}).content.decode()


def test_the_page_tells_why_a_mail_did_or_did_not_go_out(valkey: Redis, work: Work) -> None:
    subscribe(LAMP_LIT, attempts=1)(stumble)
    subscribe(LAMP_LIT, when={"lamp": ["green", "red"]})(relight)
    subscribe_email(LAMP_LIT, "reward-delivery", to="fans", context=lambda event: {"reward_name": event.lamp})
    event_id = publish(LAMP_LIT, {"lamp": "blue", "fans": ["ada@example.com"]})
    client = staff("view_eventtrail", "view_deadletter")
    early = page(client, event_id)
    work("events")

    text = page(client, event_id)

    [mail] = [mail for told in read_trail(event_id).subscribers for mail in told.queued]
    letter = DeadLetter.objects.get()
    assert "No worker has taken it up yet." in early
    assert "<h2>lamp.lit</h2>" in text
    assert "<h2>e-mail reward-delivery to fans</h2>" in text
    assert ">ConnectionError: blue</td>" in text
    assert ">lamp is &#x27;blue&#x27;, not &#x27;green&#x27; or &#x27;red&#x27;</td>" in text
    assert f">{mail.id}</td>" in text
    assert f'<a href="{reverse("admin:emailqueue_deadletter_change", args=[letter.pk])}">dead letter</a>' in text
    assert (
        page(client, letter.pk).count("lamp.lit") == page(client, mail.id).count("lamp.lit") == text.count("lamp.lit")
    )


def test_further_events_and_many_mails_are_shown(valkey: Redis, work: Work) -> None:
    subscribe(LAMP_LIT)(relight)
    subscribe(LAMP_LIT)(tell)
    fans = [f"fan{number}@example.com" for number in range(301)]
    event_id = publish(LAMP_LIT, {"lamp": "blue", "fans": fans})
    work("events")
    client = staff("view_eventtrail")

    text = page(client, event_id)

    nested = read_trail(event_id).subscribers[0].queued[0].id
    assert f'<a href="{PAGE}?id={nested}">{nested}</a>' in text
    assert f'<a href="{PAGE}?id={event_id}">{event_id}</a>' in page(client, nested)
    assert "And 1 more. reward-delivery: 301." in text


def test_nothing_that_an_event_says_becomes_markup(valkey: Redis, work: Work) -> None:
    subscribe(LAMP_LIT, attempts=1)(stumble)
    event_id = publish(LAMP_LIT, {"lamp": XSS, "fans": [XSS]})
    work("events")
    client = staff("view_eventtrail")

    texts = [page(client, event_id), page(client, XSS)]

    assert [XSS in text for text in texts] == [False, False]
    assert ["&lt;script&gt;alert(1)" in text for text in texts] == [True, True]


@pytest.mark.django_db
def test_an_id_that_leads_nowhere_says_so(valkey: Redis) -> None:
    client = staff("view_eventtrail")

    assert "This id leads to no trail" in page(client, "nothing")
    assert "errornote" not in page(client, "")


@pytest.mark.django_db
def test_the_page_stands_while_redis_is_away(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1/0")
    client = staff("view_eventtrail")

    assert "Redis does not answer" in page(client, "e" * 32)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("permissions", "status"), [((), 403), (("view_deadletter",), 403), (("view_eventtrail",), 200)]
)
def test_the_page_wants_its_permission(permissions: tuple[str, ...], status: int) -> None:
    client = staff(*permissions)

    answer = client.get(PAGE)

    assert answer.status_code == status


@pytest.mark.django_db
def test_the_index_of_the_admin_links_to_the_page() -> None:
    client = staff("view_eventtrail")

    text = client.get(reverse("admin:index")).content.decode()

    assert f'href="{PAGE}"' in text


def test_who_may_not_see_dead_letters_gets_no_link_to_them(valkey: Redis, work: Work) -> None:
    subscribe(LAMP_LIT, attempts=1)(stumble)
    event_id = publish(LAMP_LIT, {"lamp": "blue", "fans": []})
    work("events")

    text = page(staff("view_eventtrail"), event_id)

    assert "dead letter" in text
    assert "/deadletter/" not in text
