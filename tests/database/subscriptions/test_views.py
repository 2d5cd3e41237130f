"""How an address leaves the mails of a subscribed type, and what becomes of mails to it then."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from anymail.signals import AnymailTrackingEvent, tracking
from anymail.webhooks.brevo import BrevoTrackingWebhookView
from anymail.webhooks.mailersend import MailerSendTrackingWebhookView
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from anymail.webhooks.mailjet import MailjetTrackingWebhookView
from anymail.webhooks.mandrill import MandrillCombinedWebhookView
from anymail.webhooks.postmark import PostmarkTrackingWebhookView
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
from anymail.webhooks.sparkpost import SparkPostTrackingWebhookView
from anymail.webhooks.unisender_go import UnisenderGoTrackingWebhookView
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from redis import Redis

from emailqueue import EmailType, email_types, get_queue_stats, queue_email, register
from emailqueue.checks.links import check_unsubscribe
from emailqueue.events.whereabouts import Place, whereabouts
from emailqueue.models import DeadLetter, Reason, Subscription
from emailqueue.redis import connect
from emailqueue.subscriptions import tracking as listening
from emailqueue.testing import EmailQueue, MailServer
from events.emails import queue_referral_join
from tests.conftest import Work

State = Subscription.State
ADA = "Ada@Example.com"
KEY = "ada@example.com"
JOIN = {"user_name": "Ada"}
LIST = reverse("admin:emailqueue_subscription_changelist")
ADD = reverse("admin:emailqueue_subscription_add")

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def newsletter() -> Iterator[EmailType]:
    """A subscribed type."""
    template = "events/referral-join.html"
    yield register(EmailType(name="newsletter", template=template, needed={"user_name": str}, subscribed=True))
    email_types._registry.pop("newsletter")


def link_in(content: bytes) -> str:
    """Return where the header leads, as a mail program reads it: from one line, in plain ASCII."""
    (line,) = re.findall(rb"^List-Unsubscribe: <(\S+)>\r$", content, re.MULTILINE)
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in content
    return str(line.decode("ascii"))


def subscribe(address: str = ADA) -> Subscription:
    return Subscription.objects.of(address, "newsletter")


@pytest.mark.parametrize("length", [120, 300])
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
    assert base64.urlsafe_b64decode(f"{value}==") == subscription.pk.bytes
    assert {row.state for row in Subscription.objects.all()} == {State.ACTIVE}
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert Client().post(path).status_code == 200


def test_other_mails_go_out_to_who_has_unsubscribed(email_queue: EmailQueue) -> None:
    Subscription.objects.suppress(ADA, State.COMPLAINED)
    queue_referral_join(ADA, JOIN)

    assert email_queue.drain().sent == 1


def test_the_retry_of_a_letter_to_who_has_unsubscribed_is_a_letter_again(email_queue: EmailQueue) -> None:
    email_queue.mail_server("550 5.1.1 no such mailbox")
    queue_email("newsletter", ADA, JOIN)
    (letter,) = email_queue.drain().dead
    subscribe().become(State.UNSUBSCRIBED)

    letter.retry()
    (second,) = email_queue.drain().dead

    assert (second.reason, second.redrives) == (Reason.PERMANENT, letter.pk)
    assert "has unsubscribed" in second.message


def test_a_page_that_is_missing_is_told(email_queue: EmailQueue, settings: Settings) -> None:
    settings.ROOT_URLCONF = "django_rq.urls"
    queue_email("newsletter", ADA, JOIN, attempts=1)

    (letter,) = email_queue.drain().dead
    (problem,) = check_unsubscribe()

    assert letter.error_class == "emailqueue.errors.NoUnsubscribePage"
    assert problem.id == "emailqueue.E041"
    assert "include('emailqueue.urls')" in str(problem.hint)


@pytest.mark.parametrize(
    ("site", "prepend_www", "debug", "told"),
    [
        ("https://example.com", False, False, []),
        ("https://www.example.com", True, False, []),
        ("http://example.com", False, True, []),
        ("http://example.com", False, False, ["emailqueue.W042"]),
        ("https://example.com", True, False, ["emailqueue.W042"]),
        ("", False, False, ["emailqueue.W043"]),
    ],
)
def test_a_link_that_no_mail_program_can_follow_is_told(
    settings: Settings,
    queue_settings: Callable[..., None],
    site: str,
    *,
    prepend_www: bool,
    debug: bool,
    told: list[str],
) -> None:
    settings.PREPEND_WWW, settings.DEBUG = prepend_www, debug
    queue_settings(SITE_URL=site)

    assert [problem.id for problem in check_unsubscribe()] == told


def test_a_project_without_addresses_is_told_so(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    assert [problem.id for problem in check_unsubscribe()] == ["emailqueue.E041"]


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


class Replica:
    """A router of a project whose reads go to a server that lags behind, here for ever."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return "replica" if model is Subscription else None


def test_who_leaves_is_looked_up_where_rows_are_written(email_queue: EmailQueue, settings: Settings) -> None:
    path = urlsplit(subscribe().url()).path
    settings.DATABASE_ROUTERS = [Replica()]
    queue_email("newsletter", ADA, JOIN)

    answer = Client().post(path)
    drained = email_queue.drain()

    assert (answer.status_code, "You are unsubscribed" in answer.content.decode()) == (200, True)
    assert (drained.skipped, drained.sent, drained.dead) == (1, 0, [])


def test_staff_block_an_address_where_rows_are_written(settings: Settings) -> None:
    client = staff("add", "view")
    subscribe()
    settings.DATABASE_ROUTERS = [Replica()]

    answer = client.post(ADD, {"address": ADA, "email_type": "newsletter"})

    assert (answer.status_code, subscribe().state) == (302, State.BLOCKED)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_costs_no_mail_an_attempt(email_queue: EmailQueue) -> None:
    queue_email("newsletter", ADA, JOIN, attempts=1)

    with table_away(Subscription):
        away = email_queue.drain()
    back = email_queue.drain()

    assert (away.sent, away.retries, away.dead, away.held) == (0, 0, [], 4)
    assert (back.sent, back.dead) == (1, [])


@contextmanager
def table_away(model: type[Model]) -> Iterator[None]:
    """Have the database refuse the table, as it refuses all of them when it is away."""
    table = model._meta.db_table

    def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if table in sql:
            raise OperationalError("server closed the connection unexpectedly")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


def test_without_subscribed_types_no_page_is_asked_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = "django_rq.urls"
    monkeypatch.delitem(email_types._registry, "newsletter")
    try:
        assert check_unsubscribe() == []
    finally:
        monkeypatch.undo()


POSTMARK = {"RecordType": "Bounce", "Email": ADA, "MessageID": "1", "BouncedAt": "2026-11-24T12:00:00Z"}


@pytest.mark.parametrize(
    ("view", "told", "state"),
    [
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "HardBounce"}, State.BOUNCED),
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "BadEmailAddress"}, State.BOUNCED),
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "SoftBounce"}, State.ACTIVE),
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "Blocked"}, State.ACTIVE),
        (BrevoTrackingWebhookView, {"event": "hard_bounce", "email": ADA}, State.BOUNCED),
        (BrevoTrackingWebhookView, {"event": "soft_bounce", "email": ADA}, State.ACTIVE),
        (BrevoTrackingWebhookView, {"event": "complaint", "email": ADA}, State.COMPLAINED),
        (MailjetTrackingWebhookView, {"event": "bounce", "email": ADA, "hard_bounce": True}, State.BOUNCED),
        (MailjetTrackingWebhookView, {"event": "bounce", "email": ADA, "hard_bounce": False}, State.ACTIVE),
        (SendGridTrackingWebhookView, {"event": "bounce", "type": "bounce", "email": ADA}, State.BOUNCED),
        (SendGridTrackingWebhookView, {"event": "bounce", "type": "blocked", "email": ADA}, State.ACTIVE),
        (SendGridTrackingWebhookView, {"event": "bounce", "reason": "452 4.2.2 full", "email": ADA}, State.ACTIVE),
        (SendGridTrackingWebhookView, {"event": "bounce", "reason": "550 5.1.1 gone", "email": ADA}, State.BOUNCED),
        (SendGridTrackingWebhookView, {"event": "dropped", "reason": "Bounced Address", "email": ADA}, State.BOUNCED),
        (SendGridTrackingWebhookView, {"event": "dropped", "reason": "Invalid", "email": ADA}, State.BOUNCED),
        (
            SendGridTrackingWebhookView,
            {"event": "dropped", "reason": "Unsubscribed Address", "email": ADA},
            State.UNSUBSCRIBED,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:django-anymail has dropped official support for SendGrid")
def test_what_mail_services_call_a_bounce_counts_when_it_is_one_for_good(
    view: Any, told: dict[str, Any], state: State
) -> None:
    event = view(webhook_secret="a:b").esp_to_anymail_event(told)

    listening.suppress(event, view.esp_name)

    assert subscribe().state == state


def mailgun(reason: str) -> dict[str, Any]:
    answer = {"delivery-status": {"code": 550, "message": "550 5.7.1 refused"}}
    told = {"event": "failed", "severity": "permanent", "reason": reason, "recipient": ADA, "timestamp": 1.0, **answer}
    return {"event-data": told}


def unisender(word: str) -> dict[str, Any]:
    told = {"status": "hard_bounced", "email": ADA, "event_time": "2026-11-24 12:00:00"}
    return {**told, "delivery_info": {"delivery_status": word}}


def suppressed(reason: str) -> dict[str, Any]:
    return {"RecordType": "SubscriptionChange", "Recipient": ADA, "SuppressSending": True, "SuppressionReason": reason}


def mailersend(word: str) -> dict[str, Any]:
    return {"type": f"activity.{word}", "data": {"type": word, "email": {"recipient": {"email": ADA}}}}


@pytest.mark.parametrize(
    ("view", "told", "state"),
    [
        (MailerSendTrackingWebhookView, mailersend("hard_bounced"), State.BOUNCED),
        (MailerSendTrackingWebhookView, mailersend("soft_bounced"), State.ACTIVE),
        (MailgunTrackingWebhookView, mailgun("bounce"), State.BOUNCED),
        (MailgunTrackingWebhookView, mailgun("suppress-bounce"), State.BOUNCED),
        (MailgunTrackingWebhookView, mailgun("espblock"), State.ACTIVE),
        (MailgunTrackingWebhookView, mailgun("old"), State.ACTIVE),
        (MailjetTrackingWebhookView, {"event": "blocked", "email": ADA, "error": "user unknown"}, State.BOUNCED),
        (MailjetTrackingWebhookView, {"event": "blocked", "email": ADA, "error": "quota exceeded"}, State.ACTIVE),
        (MailjetTrackingWebhookView, {"event": "blocked", "email": ADA, "error": "spam reporter"}, State.COMPLAINED),
        (MandrillCombinedWebhookView, {"event": "hard_bounce", "msg": {"email": ADA}}, State.BOUNCED),
        (MandrillCombinedWebhookView, {"event": "soft_bounce", "msg": {"email": ADA}}, State.ACTIVE),
        (PostmarkTrackingWebhookView, suppressed("HardBounce"), State.BOUNCED),
        (PostmarkTrackingWebhookView, suppressed("SpamComplaint"), State.COMPLAINED),
        (PostmarkTrackingWebhookView, suppressed("ManualSuppression"), State.UNSUBSCRIBED),
        (UnisenderGoTrackingWebhookView, unisender("err_user_unknown"), State.BOUNCED),
        (UnisenderGoTrackingWebhookView, unisender("err_mailbox_full"), State.ACTIVE),
        (UnisenderGoTrackingWebhookView, unisender("err_spam_rejected"), State.ACTIVE),
        (UnisenderGoTrackingWebhookView, unisender("err_unsubscribed"), State.UNSUBSCRIBED),
    ],
)
def test_each_service_says_in_its_own_words_that_a_bounce_is_for_good(
    settings: Settings, view: Any, told: dict[str, Any], state: State
) -> None:
    keys = ("MAILERSEND_SIGNING_SECRET", "MAILGUN_WEBHOOK_SIGNING_KEY", "UNISENDER_GO_API_KEY")
    settings.ANYMAIL = dict.fromkeys(keys, "secret")
    event = view(webhook_secret="a:b").esp_to_anymail_event(told)

    listening.suppress(event, view.esp_name)

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("word", "bounce_class", "state"),
    [
        ("bounce", "10", State.BOUNCED),
        ("bounce", "30", State.BOUNCED),
        ("out_of_band", "10", State.BOUNCED),
        *[("bounce", soft, State.ACTIVE) for soft in ("20", "21", "22", "23", "40", "51", "70")],
        ("policy_rejection", "10", State.BOUNCED),
        ("policy_rejection", "22", State.ACTIVE),
        ("policy_rejection", "51", State.ACTIVE),
        ("bounce", "90", State.UNSUBSCRIBED),
    ],
)
def test_sparkpost_tells_by_a_number_what_kind_of_bounce_it_is(word: str, bounce_class: str, state: State) -> None:
    view = SparkPostTrackingWebhookView(webhook_secret="a:b")
    raw = {"msys": {"message_event": {"type": word, "bounce_class": bounce_class, "raw_rcpt_to": ADA}}}

    listening.suppress(view.esp_to_anymail_event(*view.unwrap_event(raw)), view.esp_name)

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("service", "told", "state"),
    [
        ("Amazon SES", {"bounce": {"bounceType": "Permanent"}}, State.BOUNCED),
        ("Amazon SES", {"bounce": {"bounceType": "Transient"}}, State.ACTIVE),
        ("Resend", {"data": {"bounce": {"type": "Permanent"}}}, State.BOUNCED),
        ("Resend", {"data": {"bounce": {"type": "Transient"}}}, State.ACTIVE),
        ("A new one", None, State.ACTIVE),
    ],
)
def test_services_whose_parsers_want_more_packages_say_it_too(service: str, told: Any, state: State) -> None:
    event = AnymailTrackingEvent(event_type="bounced", recipient=ADA, reject_reason="bounced", esp_event=told)

    listening.suppress(event, service)

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("550 5.1.1 no such user", State.BOUNCED),
        ("smtp; 550-5.1.1 no such user", State.BOUNCED),
        ("5.4.4 no such domain.", State.BOUNCED),
        ("550 no such user", State.BOUNCED),
        ("host mx.example[5.1.1.9] said: 550 no such user (in reply to RCPT TO command)", State.BOUNCED),
        ("452 4.2.2 over quota of 512 MB", State.ACTIVE),
        ("452 over quota of 512 MB", State.ACTIVE),
        ("451 5.1.1.9 is greylisted for 300 s, 550 after that", State.ACTIVE),
        ("552 5.2.2 mailbox full", State.ACTIVE),
        ("552 5.3.4 message too big", State.ACTIVE),
        ("550 5.7.1 your address is on a list", State.ACTIVE),
        ("", State.ACTIVE),
    ],
)
def test_of_other_services_the_answer_of_the_mail_server_decides(answer: str, state: State) -> None:
    event = AnymailTrackingEvent(event_type="bounced", recipient=ADA, reject_reason="bounced", mta_response=answer)

    listening.suppress(event, "A new one")

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("event_type", "state"),
    [
        ("bounced", State.BOUNCED),
        ("complained", State.COMPLAINED),
        ("unsubscribed", State.UNSUBSCRIBED),
        ("deferred", State.ACTIVE),
        ("delivered", State.ACTIVE),
        ("opened", State.ACTIVE),
    ],
)
def test_what_a_mail_service_tells_holds_all_subscribed_types_back(
    settings: Settings, event_type: str, state: State
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "anymail"]
    listening.connect()
    event = AnymailTrackingEvent(
        event_type=event_type, recipient=ADA, reject_reason="bounced", mta_response="550 5.1.1 unknown"
    )

    tracking.send(sender=None, event=event, esp_name="Postmark")
    tracking.disconnect(dispatch_uid="emailqueue.subscriptions")

    subscription = subscribe()
    assert (subscription.state, subscription.address) == (state, KEY)
    assert (subscription.detail == "Postmark · bounced · 550 5.1.1 unknown") == (state != State.ACTIVE)


def test_without_anymail_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    listening.connect()

    assert not tracking.has_listeners()


@pytest.mark.parametrize("first", [State.BOUNCED, State.BLOCKED])
def test_what_a_person_asked_for_outlives_what_was_there_before(first: State) -> None:
    Subscription.objects.suppress(ADA, first, detail="first")

    Subscription.objects.suppress(ADA.lower(), State.UNSUBSCRIBED, detail="second")
    Subscription.objects.suppress(ADA, State.UNSUBSCRIBED, detail="third")
    Subscription.objects.suppress(ADA, first, detail="fourth")

    row = Subscription.objects.get()
    assert (row.state, row.detail) == (State.UNSUBSCRIBED, "first\nsecond")


def test_mails_of_one_type_stay_away_when_the_others_come_again() -> None:
    subscribe().become(State.UNSUBSCRIBED)
    Subscription.objects.suppress(ADA, State.BOUNCED)

    Subscription.objects.get(email_type="").become(State.ACTIVE)

    assert subscribe().state == State.UNSUBSCRIBED


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


@pytest.mark.django_db(transaction=True)
def test_a_worker_skips_it_too(valkey: Redis, mailbox: MailServer, work: Work) -> None:
    Subscription.objects.suppress(ADA, State.UNSUBSCRIBED, email_type="newsletter")
    job_id = queue_email("newsletter", ADA, JOIN)

    work()

    places = whereabouts([job_id], connection=connect())
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
    assert (figures["completed"], figures["skipped"], figures["dead"]) == ("11", "22", "33")


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


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("mary", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{name}_subscription" for name in permissions]))
    client = Client()
    client.force_login(user)
    return client
