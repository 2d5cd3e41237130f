"""Django's own mail through the queue; the ideas are those of Django's tests of its backends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import django
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage, mail_admins, send_mail, send_mass_mail
from django.test import Client
from django.urls import include, path
from pytest_django import Settings
from redis import Redis

from emailqueue import get_queue_stats
from emailqueue.models import DeadLetter
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.django_mail import HAS_MAILERS, OFFICE, QUEUE, full_message, waiting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]
urlpatterns = [path("accounts/", include("django.contrib.auth.urls")), path("admin/", admin.site.urls)]


def test_a_message_reaches_each_recipient_as_it_was_sent(queued: MailServer, work: Work) -> None:
    message = full_message()

    count = message.send()
    work()

    assert count == 1
    assert {received.recipient for received in queued.messages} == {
        *("ada@example.com", "bob@example.com", "cy@example.com", "hidden@example.com")
    }
    assert {received.sender for received in queued.messages} == {"office@sender.example"}
    for received in queued.messages:
        got = received.message
        assert got["Subject"] == "Grüße"
        assert got["To"] == "Ada <ada@example.com>, bob@example.com"
        assert (got["Cc"], got["Reply-To"], got["X-One"]) == ("cy@example.com", "answers@sender.example", "1")
        assert got.get_body(("plain",)).get_content().strip() == "A text"  # type: ignore[union-attr]
        assert got.get_body(("html",)).get_content().strip() == "<p>HTML</p>"  # type: ignore[union-attr]
        attached = {part.get_filename(): part for part in got.iter_attachments()}
        assert attached["plan.ics"].get_content_type() == "text/calendar"
        assert attached["picture.png"].get_content() == b"\x89PNG"
        assert b"hidden" not in received.content


def test_the_copies_of_one_message_have_one_message_id_and_date(queued: MailServer, work: Work) -> None:
    full_message().send()
    full_message(headers={"Message-ID": "<own@sender.example>", "Date": "Mon, 04 May 2026 12:00:00 -0000"}).send()

    work()

    ids = {received.message_id for received in queued.messages}
    assert len(queued.messages) == 8
    assert len(ids) == 2
    assert "<own@sender.example>" in ids
    assert len({received.message["Date"] for received in queued.messages}) == 2


def test_a_mail_says_when_it_was_queued_not_when_it_went_out(queued: MailServer, work: Work, valkey: Redis) -> None:
    send_mail("Subject", "Body", OFFICE, ["ada@example.com"])
    waits: list[Any] = valkey.lrange("rq:queue:normal", 0, -1)
    job_id = waits[0].decode()
    call = json.loads(valkey.hget(f"rq:job:{job_id}", "data") or "")
    date = dict(call[3]["message"]["headers"])["Date"]

    work()

    assert queued.messages[0].message["Message-ID"] == f"<{job_id}@sender.example>"
    assert queued.messages[0].message["Date"].datetime == parsedate_to_datetime(date)


def test_each_recipient_has_a_verdict_of_its_own(queued: MailServer, work: Work) -> None:
    queued.rules.append(("bob@*", ["550 5.1.1 no such mailbox"]))

    full_message().send()
    work()

    letter = DeadLetter.objects.get()
    assert {received.recipient for received in queued.messages} == {
        *("ada@example.com", "cy@example.com", "hidden@example.com")
    }
    assert (letter.recipient, letter.label, letter.email_type) == ("bob@example.com", "message", "message")
    assert letter.smtp_code == 550


def test_one_who_is_named_twice_gets_one_mail(queued: MailServer, work: Work) -> None:
    EmailMessage(
        "Subject", "Body", OFFICE, ["Ada <ada@example.com>"], cc=["ada@example.com"], bcc=["ada@example.com"]
    ).send()

    work()

    assert [received.recipient for received in queued.messages] == ["ada@example.com"]
    assert queued.messages[0].message["Cc"] == "ada@example.com"


def test_a_message_for_bcc_alone_shows_nobody(queued: MailServer, work: Work) -> None:
    EmailMessage("Subject", "Body", OFFICE, bcc=["ada@example.com", "bob@example.com"]).send()

    work()

    assert sorted(received.recipient for received in queued.messages) == ["ada@example.com", "bob@example.com"]
    assert all(received.message["To"] is None for received in queued.messages)
    assert all(b"bob@" not in received.content and b"ada@" not in received.content for received in queued.messages)


def test_the_messages_shortcuts_go_through_the_queue(queued: MailServer, work: Work, settings: Settings) -> None:
    settings.ADMINS = ["admin@example.com"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.com")]

    sent = send_mass_mail([("One", "1", OFFICE, ["ada@example.com"]), ("Two", "2", OFFICE, ["bob@example.com"])])
    mail_admins("Broken", "It is", html_message="<b>It is</b>")
    send_mail("Three", "3", None, ["cy@example.com"], html_message="<i>3</i>")
    assert queued.messages == []
    work()

    subjects = {received.recipient: received.message["Subject"] for received in queued.messages}
    assert sent == 2
    assert subjects == {
        "ada@example.com": "One",
        "bob@example.com": "Two",
        "admin@example.com": "[Django] Broken",
        "cy@example.com": "Three",
    }


@pytest.mark.skipif(HAS_MAILERS, reason="Django 6.1 has mailers for it")
def test_a_connection_of_ones_own_queues_too(
    mailbox: MailServer, queue_settings: Callable[..., None], work: Work
) -> None:
    connection = mail.get_connection(QUEUE, priority="low")

    with connection:
        send_mail("One", "1", OFFICE, ["ada@example.com"], connection=connection, auth_user="ada")
        EmailMessage("Two", "2", OFFICE, ["bob@example.com"], connection=connection).send()
    waited = get_queue_stats().queues["low"].waiting
    work()

    assert waited == 2
    assert len(mailbox.messages) == 2


@pytest.mark.skipif(not HAS_MAILERS, reason="since Django 6.1")
def test_a_mailer_of_ones_own_queues_too(queued: MailServer, valkey: Redis) -> None:
    send_mail("One", "1", OFFICE, ["ada@example.com"], using="low")
    getattr(mail, "mailers")["low"].send_messages([EmailMessage("Two", "2", OFFICE, ["bob@example.com"])])  # noqa: B009

    assert waiting(valkey, "low") == 2


@pytest.mark.urls(__name__)
def test_a_forgotten_password_is_reset_through_the_queue(queued: MailServer, work: Work) -> None:
    user = User.objects.create_user("ada", "ada@example.com", "forgotten")

    Client().post("/accounts/password_reset/", {"email": "ada@example.com"})
    work()
    (received,) = queued.messages
    link = re.search(r"https?://[^/]+(/accounts/reset/\S+)", received.message.get_content())
    assert link
    client = Client()
    form = client.get(link[1], follow=True)
    client.post(form.redirect_chain[-1][0], {"new_password1": "remember-17", "new_password2": "remember-17"})

    user.refresh_from_db()
    assert user.check_password("remember-17")
