"""How a person leaves the mails of a subscribed type: the link, one click, the page."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from emailqueue import email_types, get_queue_stats, queue_email
from emailqueue.models import Subscription
from emailqueue.testing import EmailQueue
from tests.support.subscriptions import ADA, JOIN, subscribe

State = Subscription.State
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("newsletter")]


def link_in(content: bytes) -> str:
    """Return where the header leads, as a mail program reads it: from one line, in plain ASCII."""
    (line,) = re.findall(rb"^List-Unsubscribe: <(\S+)>\r$", content, re.MULTILINE)
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in content
    return str(line.decode("ascii"))


@pytest.mark.parametrize("length", [130, 300])
def test_the_header_stays_in_one_piece_at_any_length(
    email_queue: EmailQueue, queue_settings: Callable[..., None], length: int
) -> None:
    server = email_queue.mail_server()
    fixed = len(f"List-Unsubscribe: <https://e.x{urlsplit(subscribe().url()).path}>")
    queue_settings(SITE_URL=f"https://e.x/{'p' * (length - fixed - 1)}")
    queue_email("newsletter", ADA, JOIN)

    email_queue.drain()

    link = link_in(server.messages[0].content)
    assert len(f"List-Unsubscribe: <{link}>") == length
    assert server.messages[0].message["List-Unsubscribe"] == f"<{link}>"


@pytest.mark.parametrize(
    ("site", "link"),
    [
        ("https://exämple.com:8443/ärger", "https://xn--exmple-cua.com:8443/%C3%A4rger/email/"),
        ("https://пример.рф:8443", "https://xn--e1afmkfd.xn--p1ai:8443/email/"),
        ("https://пример.рф", "https://xn--e1afmkfd.xn--p1ai/email/"),
        ("https://[::1]:8443", "https://[::1]:8443/email/"),
    ],
)
def test_the_link_is_ascii_whatever_the_name_of_the_site(
    email_queue: EmailQueue, queue_settings: Callable[..., None], site: str, link: str
) -> None:
    server = email_queue.mail_server()
    queue_settings(SITE_URL=site)
    queue_email("newsletter", ADA, JOIN)

    email_queue.drain()

    assert link_in(server.messages[0].content).startswith(link)


def test_one_click_is_not_announced_without_https(email_queue: EmailQueue, queue_settings: Callable[..., None]) -> None:
    server = email_queue.mail_server()
    queue_settings(SITE_URL="http://example.com")
    queue_email("newsletter", ADA, JOIN)

    email_queue.drain()

    message = server.messages[0].message
    assert str(message["List-Unsubscribe"]).startswith("<http://example.com/")
    assert message["List-Unsubscribe-Post"] is None


def test_one_click_ends_the_subscription_and_later_mails_are_skipped(email_queue: EmailQueue) -> None:
    server = email_queue.mail_server()
    queue_email("newsletter", ADA, JOIN)
    email_queue.drain()
    link = link_in(server.messages[0].content)

    answers = [Client(enforce_csrf_checks=True).post(*one_click(link), secure=True) for _ in range(2)]
    queue_email("newsletter", ADA, JOIN)
    queue_email("newsletter", "mary@example.com", JOIN)
    drained = email_queue.drain()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (drained.sent, drained.skipped, drained.dead) == (1, 1, [])
    assert [mail.recipient for mail in server.messages] == [ADA, "mary@example.com"]
    stats = get_queue_stats().main
    assert (stats.completed, stats.skipped, stats.waiting, stats.active) == (2, 1, 0, 0)
    subscription = subscribe()
    assert (subscription.state, subscription.skipped) == (State.UNSUBSCRIBED, 1)


@pytest.mark.parametrize("append_slash", [True, False])
@pytest.mark.parametrize("ssl_redirect", [True, False])
@pytest.mark.parametrize("end", ["", "/"])
def test_one_click_meets_no_redirect_no_login_and_no_csrf_check(
    settings: Settings, queue_settings: Callable[..., None], *, append_slash: bool, ssl_redirect: bool, end: str
) -> None:
    queue_settings(SITE_URL=f"{'https' if ssl_redirect else 'http'}://example.com")
    settings.APPEND_SLASH, settings.SECURE_SSL_REDIRECT = append_slash, ssl_redirect
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    link = subscribe().url()
    path, form = one_click(link)

    answer = Client(enforce_csrf_checks=True).post(path + end, form, secure=link.startswith("https:"))

    assert (answer.status_code, answer.cookies) == (200, {})
    assert subscribe().state == State.UNSUBSCRIBED


def one_click(link: str) -> tuple[str, dict[str, str]]:
    return urlsplit(link).path, {"List-Unsubscribe": "One-Click"}


def test_looking_at_the_page_changes_nothing() -> None:
    path = urlsplit(subscribe().url()).path
    client = Client()

    pages = [client.get(path), client.head(path), client.options(path)]

    assert [page.status_code for page in pages] == [200, 200, 405]
    assert b'<form method="post">' in pages[0].content
    assert "no-store" in pages[0].headers["Cache-Control"]
    assert subscribe().state == State.ACTIVE


def test_the_page_names_site_and_kind(queue_settings: Callable[..., None]) -> None:
    queue_settings(SITE_URL="https://club.example:8443/here")
    path = urlsplit(Subscription.objects.of(ADA, "weekly-club_news").url()).path.removeprefix("/here")

    page = Client().get(path).content.decode()

    assert '<p class="site">club.example</p>' in page
    assert "You will get no more mails of this kind: weekly club news." in page


def test_the_form_of_the_page_does_it() -> None:
    path = urlsplit(subscribe().url()).path

    page = Client(enforce_csrf_checks=True).post(path, {"List-Unsubscribe": "One-Click"}).content.decode()

    assert "You are unsubscribed" in page
    assert "<form" not in page


def test_nobody_can_make_a_link_or_read_one(settings: Settings) -> None:
    subscription, other = subscribe(), subscribe("mary@example.com")
    path = urlsplit(subscription.url()).path
    value, _dot, signature = path.rpartition("/")[2].partition(".")
    forged = [path[:-1] + ("A" if path[-1] != "A" else "B"), path.replace(value, value[::-1]), path.split(".")[0]]
    forged += [urlsplit(other.url()).path.split(".")[0] + f".{signature}", path.replace(value, "é")]

    answers = [Client().post(address).status_code for address in forged]

    assert answers == [404] * 5
    assert uuid.UUID(value) == subscription.pk
    assert {row.state for row in Subscription.objects.all()} == {State.ACTIVE}
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert Client().post(path).status_code == 200


def test_a_link_of_a_type_that_is_gone_works_and_so_does_a_post_without_a_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = urlsplit(subscribe().url()).path
    monkeypatch.delitem(email_types._registry, "newsletter")

    try:
        answer = Client(enforce_csrf_checks=True).post(path)
    finally:
        monkeypatch.undo()

    assert (answer.status_code, subscribe().state) == (200, State.UNSUBSCRIBED)
