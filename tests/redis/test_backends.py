"""Django's own mail through the queue; the ideas are those of Django's tests of its backends."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import django
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core import mail
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, EmailMultiAlternatives, mail_admins, send_mail, send_mass_mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import include, path
from django.utils.log import AdminEmailHandler
from pytest_django import Settings
from redis import Redis

import config.settings as config_settings
from emailqueue import EmailType, get_queue_stats, register
from emailqueue.backends import QueuedEmailBackend
from emailqueue.conf import get_settings
from emailqueue.delivery.mailers import SMTP
from emailqueue.enqueue.relay import relay
from emailqueue.enqueue.staging import Staging
from emailqueue.enqueue.submit import absence
from emailqueue.errors import InvalidAddress, InvalidMessage, InvalidPriority, NotRetryable, RedisUnavailable
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.job import NewJob, new_id
from emailqueue.mail.messages import DELIVER_MESSAGE, message_of, prepare
from emailqueue.models import DeadLetter, OutboxRow, Status
from emailqueue.redis import rq_queues
from emailqueue.store import Store
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.letters import page, staff

AT_ONCE = "emailqueue.backends.AtOnceEmailBackend"
QUEUE = "emailqueue.backends.QueuedEmailBackend"
HAS_MAILERS = django.VERSION >= (6, 1)
OFFICE = "Office <office@sender.example>"
LARGE = bytes(range(256)) * 300
THEFT = {
    "from": OFFICE,
    "to": ["ada@example.com"],
    "attachments": [
        {
            "kind": "bytes",
            "filename": "x",
            "mimetype": "a/b",
            "content": {"file": "emailqueue-attachments/../secret", "size": 1},
        }
    ],
}

pytestmark = pytest.mark.django_db(transaction=True)

urlpatterns = [path("accounts/", include("django.contrib.auth.urls")), path("admin/", admin.site.urls)]


def deliver_by(settings: Settings, backend: str, **options: Any) -> None:
    """Send Django's mail through the queue, and the queue's by `backend`."""
    if HAS_MAILERS:
        settings.MAILERS = {
            "default": {"BACKEND": QUEUE, "OPTIONS": options},
            "quiet": {"BACKEND": QUEUE, "OPTIONS": {"fail_silently": True}},
            "low": {"BACKEND": QUEUE, "OPTIONS": {"priority": "low"}},
            "really": {**config_settings.MAILERS["default"], "BACKEND": backend},  # type: ignore[attr-defined,unused-ignore]
        }
    else:
        settings.EMAIL_BACKEND = QUEUE
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, "MAILER": "really" if HAS_MAILERS else backend}
    get_settings.cache_clear()


@pytest.fixture
def queued(mailbox: MailServer, settings: Settings, valkey: Redis, tmp_path: Path) -> MailServer:
    settings.MEDIA_ROOT = tmp_path / "media"
    deliver_by(settings, SMTP)
    return mailbox


def waiting(valkey: Redis, queue: str) -> int:
    return valkey.llen(f"rq:queue:{queue}")


def full_message(**fields: Any) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives(
        "Grüße",
        "A text",
        OFFICE,
        **{
            "to": ["Ada <ada@example.com>", "bob@example.com"],
            "cc": ["cy@example.com"],
            "bcc": ["hidden@example.com"],
            "reply_to": ["answers@sender.example"],
            "headers": {"X-One": "1"},
            **fields,
        },
    )
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("plan.ics", "BEGIN:VCALENDAR", "text/calendar")
    message.attach("picture.png", b"\x89PNG", "image/png")
    return message


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


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "Subject\nBcc: all@example.com"},
        {"to": ["ada@example.com\nBcc: all@example.com"]},
        {"from_email": "office@sender.example\r\nBcc: all@example.com"},
        {"headers": {"X-One": "1\nBcc: all@example.com"}},
        {"reply_to": ["a@example.com\nBcc: all@example.com"]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_forged_header_is_refused_at_the_call(queued: MailServer, valkey: Redis, fields: dict[str, Any]) -> None:
    message = EmailMessage(**{"subject": "Subject", "to": ["ada@example.com"], **fields})

    with pytest.raises(ValueError, match=r"(?i)newline|linefeed|carriage|header|address|control"):
        message.send()

    assert waiting(valkey, "normal") == 0


@pytest.mark.parametrize(
    "address", ["a@x.example, b@x.example", "ädä@example.com", "a b", "<>", "a@" + "x" * 70 + ".example"]
)
def test_an_address_that_no_server_can_be_told_is_refused_at_the_call(
    queued: MailServer, valkey: Redis, address: str
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - Django's own or InvalidAddress, by version
        send_mail("Subject", "Body", OFFICE, [address])

    assert waiting(valkey, "normal") == 0


def test_local_mailboxes_and_foreign_domains_are_addresses(queued: MailServer, work: Work) -> None:
    send_mail("Subject", "Body", OFFICE, ["root@mailhost", "to@éxample.com"])

    work()

    assert sorted(received.recipient for received in queued.messages) == ["root@mailhost", "to@xn--xample-9ua.com"]


def test_one_wrong_message_queues_none_of_the_call(queued: MailServer, valkey: Redis) -> None:
    right = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"])
    wrong = EmailMessage("Sub\nject", "Body", OFFICE, ["ada@example.com"])

    with pytest.raises(ValueError, match=r"(?i)newline|linefeed"):
        QueuedEmailBackend().send_messages([right, wrong])

    assert waiting(valkey, "normal") == 0


def test_a_nul_that_databases_refuse_is_refused_at_the_call_or_carried(
    queued: MailServer, work: Work, queue_settings: Callable[..., None]
) -> None:
    queue_settings(OUTBOX="always")

    send_mail("Subject", "a\0b \\u0000", OFFICE, ["ada@example.com"])
    with pytest.raises((InvalidMessage, ValueError)):
        send_mail("Sub\0ject", "Body", OFFICE, ["ada@example.com"])
    work()

    assert queued.messages[0].message.get_content().strip() == "a\0b \\u0000"


def test_a_message_to_nobody_is_not_queued(queued: MailServer, valkey: Redis) -> None:
    count = QueuedEmailBackend().send_messages([EmailMessage("Subject", "Body", OFFICE)])

    assert count == 0
    assert waiting(valkey, "normal") == 0


@pytest.mark.parametrize(
    ("headers", "queue", "sent"),
    [
        ({}, "normal", None),
        ({"X-Queue-Priority": "critical"}, "critical", None),
        ({"x-queue-priority": " 4 "}, "low", None),
        ({"X-Priority": "1 (Highest)"}, "high", "1 (Highest)"),
        ({"X-Priority": "5"}, "low", "5"),
        ({"X-Priority": "urgent"}, "normal", "urgent"),
        ({"X-Priority": "5", "X-Queue-Priority": "high"}, "high", "5"),
    ],
)
def test_a_header_says_the_priority(  # noqa: PLR0917 - pytest calls it by keyword
    queued: MailServer, work: Work, valkey: Redis, headers: dict[str, str], queue: str, sent: str | None
) -> None:
    message = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"], headers=headers)

    message.send()
    waited = waiting(valkey, queue)
    work()

    assert waited == 1
    assert queued.messages[0].message["X-Queue-Priority"] is None
    assert queued.messages[0].message["X-Priority"] == sent
    assert message.extra_headers == headers


def test_the_setting_says_the_priority_of_the_rest(
    queued: MailServer, valkey: Redis, queue_settings: Callable[..., None]
) -> None:
    queue_settings(BACKEND_PRIORITY="low")

    send_mail("Subject", "Body", OFFICE, ["ada@example.com"])
    QueuedEmailBackend(priority="high").send_messages([EmailMessage("S", "B", OFFICE, ["ada@example.com"])])

    assert (waiting(valkey, "low"), waiting(valkey, "high")) == (1, 1)


def test_a_priority_that_is_none_is_refused_at_the_call(queued: MailServer) -> None:
    message = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"], headers={"X-Queue-Priority": "soon"})

    with pytest.raises(InvalidPriority, match="'soon'"):
        message.send()


def test_mail_goes_with_the_transaction(queued: MailServer, valkey: Redis, transactional_db: None) -> None:
    with transaction.atomic():
        send_mail("Kept", "Body", OFFICE, ["ada@example.com"])
        before_commit = waiting(valkey, "normal")
    with transaction.atomic():
        send_mail("Rolled back", "Body", OFFICE, ["ada@example.com"])
        transaction.set_rollback(True)

    assert before_commit == 0
    assert waiting(valkey, "normal") == 1


def tell_of_an_error() -> None:
    how: dict[str, Any] = {"using": "errors"} if HAS_MAILERS else {"email_backend": AT_ONCE}
    record = logging.LogRecord("shop", logging.ERROR, __file__, 1, "The order failed.", (), None)
    AdminEmailHandler(**how).emit(record)


def order_that_fails() -> None:
    with transaction.atomic():
        User.objects.create(username="ada")
        mail_admins("By the default backend", "is gone")
        try:
            User.objects.create(username="ada")
        except IntegrityError:
            tell_of_an_error()  # in a transaction that takes no query any more
            raise


def test_an_error_is_told_although_the_transaction_is_rolled_back(
    queued: MailServer, valkey: Redis, settings: Settings
) -> None:
    settings.ADMINS = ["ada@example.com"] if HAS_MAILERS else [("Ada", "ada@example.com")]
    if HAS_MAILERS:
        settings.MAILERS = {**settings.MAILERS, "errors": {"BACKEND": AT_ONCE}}

    with pytest.raises(IntegrityError):
        order_that_fails()

    assert waiting(valkey, "normal") == 1


def test_an_error_is_told_although_its_job_fails(queued: MailServer, settings: Settings, valkey: Redis) -> None:
    settings.ADMINS = ["ada@example.com"] if HAS_MAILERS else [("Ada", "ada@example.com")]
    if HAS_MAILERS:
        settings.MAILERS = {**settings.MAILERS, "errors": {"BACKEND": AT_ONCE}}

    with Staging("job").collecting():
        mail_admins("By the default backend", "waits for the job to succeed")
        tell_of_an_error()

    assert waiting(valkey, "normal") == 1


def test_more_messages_than_one_script_takes_are_queued_all_the_same(queued: MailServer, valkey: Redis) -> None:
    messages = [EmailMessage("Subject", "Body", OFFICE, [f"r{number}@example.com"]) for number in range(501)]

    count = QueuedEmailBackend().send_messages(messages)

    assert count == waiting(valkey, "normal") == 501


@pytest.fixture
def redis_is_away(settings: Settings) -> Iterator[Callable[[], None]]:
    there = settings.RQ_QUEUES

    def back() -> None:
        settings.RQ_QUEUES = there
        absence.until = 0.0

    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")
    absence.until = 0.0
    yield back
    absence.until = 0.0


def test_a_redis_that_is_away_is_silent_only_on_request(
    queued: MailServer, redis_is_away: Callable[[], None], queue_settings: Callable[..., None]
) -> None:
    queue_settings(OUTBOX="off")
    right = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"])
    wrong = EmailMessage("Sub\nject", "Body", OFFICE, ["ada@example.com"])

    silent = QueuedEmailBackend(fail_silently=True).send_messages([right])

    assert silent == 0
    with pytest.raises(RedisUnavailable):
        right.send()
    with pytest.raises(ValueError, match=r"(?i)newline|linefeed"):
        QueuedEmailBackend(fail_silently=True).send_messages([wrong])
    assert not OutboxRow.objects.exists()


def test_mail_waits_in_the_outbox_while_redis_is_away(
    queued: MailServer, redis_is_away: Callable[[], None], valkey: Redis, work: Work
) -> None:
    message = full_message(to=["ada@example.com"], cc=[], bcc=[])
    message.attach("large.bin", LARGE, "application/octet-stream")

    count = message.send()
    waited = OutboxRow.objects.count()
    redis_is_away()
    relay(Store(valkey))
    work()

    assert (count, waited) == (1, 1)
    assert {part.get_filename(): part for part in queued.messages[0].message.iter_attachments()}[
        "large.bin"
    ].get_content() == LARGE


# What delivers


def test_the_queue_is_not_its_own_mailer(queued: MailServer, settings: Settings, valkey: Redis) -> None:
    deliver_by(settings, QUEUE)

    errors = [error for error in run_checks() if error.id == "emailqueue.E031"]

    assert "deliver to itself" in errors[0].msg
    assert "EMAIL_QUEUE['MAILER']" in errors[0].msg
    with pytest.raises(ImproperlyConfigured, match="deliver to itself"):
        send_mail("Subject", "Body", OFFICE, ["ada@example.com"])


def test_a_mailer_must_be_named_where_the_queue_is_django_s_default(
    queued: MailServer, queue_settings: Callable[..., None]
) -> None:
    queue_settings(MAILER=None)

    errors = [error for error in run_checks() if error.id == "emailqueue.E031"]

    assert "EMAIL_QUEUE has no 'MAILER'" in errors[0].msg


def test_a_mailer_that_is_not_there_is_told(queued: MailServer, queue_settings: Callable[..., None]) -> None:
    queue_settings(MAILER="nowhere.Backend")

    errors = [error for error in run_checks() if error.id == "emailqueue.E031"]

    assert "'nowhere" in errors[0].msg


def test_the_settings_of_the_tests_are_in_order(queued: MailServer, settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = ""
    warned = [error.id for error in run_checks() if str(error.id).startswith("emailqueue.")]
    settings.MEDIA_ROOT = tmp_path

    errors = [error.id for error in run_checks() if str(error.id).startswith("emailqueue.")]

    assert warned == ["emailqueue.W033"]
    assert errors == []


def test_a_backend_that_is_no_smtp_gets_each_message_once_and_whole(
    queued: MailServer, settings: Settings, work: Work
) -> None:
    deliver_into_outbox(settings)

    full_message().send()
    work()

    (message,) = mail.outbox
    assert message.to == ["Ada <ada@example.com>", "bob@example.com"]
    assert (message.cc, message.bcc) == (["cy@example.com"], ["hidden@example.com"])
    assert message.recipients() == full_message().recipients()


def deliver_into_outbox(settings: Settings) -> list[EmailMessage]:
    deliver_by(settings, "django.core.mail.backends.locmem.EmailBackend")
    if HAS_MAILERS:
        settings.MAILERS["really"].pop("OPTIONS", None)
    mail.outbox = []
    return mail.outbox


@pytest.mark.parametrize(
    "named",
    [
        {"to": ["Ada <ada@example.com>"], "cc": ["ada@example.com"], "bcc": []},
        {"to": ["ada@example.com"], "cc": [], "bcc": ["ada@example.com", "bob@example.com"]},
        {"to": ['"a,b"@example.com', "bob@example.com"], "cc": [], "bcc": []},
    ],
)
def test_a_backend_that_is_no_smtp_gets_who_is_named_twice_as_the_message_has_it(
    queued: MailServer, settings: Settings, work: Work, named: dict[str, list[str]]
) -> None:
    deliver_into_outbox(settings)

    full_message(**named).send()
    work()

    (message,) = mail.outbox
    assert {name: getattr(message, name) for name in named} == named
    assert not {"To", "Cc"} & {*message.extra_headers}


def test_a_message_to_one_is_handed_over_as_it_is(queued: MailServer, settings: Settings) -> None:
    message = full_message(to=["Ada <ada@example.com>"], cc=[], bcc=[])

    (job,) = prepare(message).jobs()

    again = message_of(job.arguments)
    assert (again.to, again.cc, again.bcc) == (message.to, [], [])
    assert "To" not in again.extra_headers


def test_whole_messages_that_wait_are_split_when_smtp_becomes_the_mailer(
    queued: MailServer, settings: Settings, work: Work, tmp_path: Path
) -> None:
    deliver_into_outbox(settings)
    message = full_message()
    message.attach("large.bin", LARGE, "application/octet-stream")
    message.send()
    full_message(to=["Eve <eve@example.com>"], cc=["eve@example.com"], bcc=[]).send()

    deliver_by(settings, SMTP)
    queued.rules.append(("bob@*", ["451 4.3.0 later", "250 ok"]))
    work(seconds=15)

    received = {one.recipient: one.message for one in queued.messages}
    assert sorted(one.recipient for one in queued.messages) == [
        *("ada@example.com", "bob@example.com", "cy@example.com", "eve@example.com", "hidden@example.com")
    ]
    assert received["bob@example.com"]["To"] == "Ada <ada@example.com>, bob@example.com"
    assert LARGE in [part.get_content() for part in received["hidden@example.com"].iter_attachments()]
    assert get_queue_stats().main.completed == 5
    assert not DeadLetter.objects.exists()


def test_copies_that_wait_go_out_one_by_one_when_an_api_becomes_the_mailer(
    queued: MailServer, settings: Settings, work: Work
) -> None:
    full_message().send()

    deliver_into_outbox(settings)
    work()

    assert sorted((message.to, message.cc, message.bcc) for message in mail.outbox) == [
        (["Ada <ada@example.com>"], [], []),
        (["bob@example.com"], [], []),
        (["cy@example.com"], [], []),
        (["hidden@example.com"], [], []),
    ]
    assert all(not {"To", "Cc"} & {*message.extra_headers} for message in mail.outbox)


class Signed(EmailMessage):
    """Builds its MIME by itself, as packages that sign do."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["X-Signature"] = "of what was built"
        return built


def test_a_message_that_builds_itself_is_built_at_the_call_and_not_again(queued: MailServer, work: Work) -> None:
    message = Signed("Grüße", "Body", OFFICE, ["ada@example.com"], headers={"X-Queue-Priority": "low"})
    message.attach("large.bin", LARGE, "application/octet-stream")

    message.send()
    work()

    received = queued.messages[0].message
    assert received["X-Signature"] == "of what was built"
    assert received["X-Queue-Priority"] is None
    assert LARGE in [part.get_content() for part in received.iter_attachments()]


def test_the_name_of_these_mails_is_no_e_mail_type(queued: MailServer) -> None:
    with pytest.raises(ValueError, match="cannot be named 'message'"):
        register(EmailType(name="message", template="a.html"))


# Dead letters


@pytest.fixture
def letter(queued: MailServer, work: Work) -> DeadLetter:
    queued.replies = ["550 5.1.1 no such mailbox"]
    message = full_message(to=["Ada <adda@example.com>"], cc=[], bcc=[])
    message.attach("large.bin", LARGE, "application/octet-stream")
    message.send()
    work()
    return DeadLetter.objects.get()


def test_a_letter_shows_the_message_and_the_names_of_its_attachments(letter: DeadLetter) -> None:
    client = staff("view", "retry", "view_body")

    shown = client.get(page(letter)).content.decode()
    preview = client.get(page(letter, "preview")).content.decode()

    assert "Grüße" in shown
    assert "plan.ics, picture.png, large.bin" in shown
    assert "base64" not in shown
    assert "Retry with edits" in shown
    assert preview == "<p>HTML</p>"


def test_a_letter_is_retried_to_another_address(letter: DeadLetter, queued: MailServer, work: Work) -> None:
    client = staff("view", "retry", "view_body")
    old_id = dict((letter.arguments or {})["message"]["headers"])["Message-ID"]

    form = client.get(page(letter, "edit")).content.decode()
    client.post(page(letter, "edit"), {"to": "ada@example.com", "priority": "2"})
    work()

    letter.refresh_from_db()
    (received,) = queued.messages
    assert 'name="context"' not in form
    assert letter.status == Status.SENT
    assert (letter.edits, received.recipient) == ({"to": "ada@example.com", "priority": 2}, "ada@example.com")
    assert received.message["To"] == "Ada <ada@example.com>"
    assert received.message_id == old_id
    assert LARGE in [part.get_content() for part in received.message.iter_attachments()]


def test_one_of_several_recipients_is_corrected_in_the_headers_too(queued: MailServer, work: Work) -> None:
    queued.rules.append(("bob@*", ["550 5.1.1 no such mailbox"]))
    full_message().send()
    work()
    DeadLetter.objects.get().retry(to="robert@example.com")
    work()

    received = queued.messages[-1]
    assert received.recipient == "robert@example.com"
    assert received.message["To"] == "Ada <ada@example.com>, robert@example.com"


def test_a_letter_is_retried_to_a_domain_that_is_not_ascii(letter: DeadLetter, queued: MailServer, work: Work) -> None:
    client = staff("view", "retry", "view_body")

    answer = client.post(page(letter, "edit"), {"to": "ada@bücher.example", "priority": "2"})
    work()

    (received,) = queued.messages
    assert answer.status_code == 302
    assert received.recipient == "ada@xn--bcher-kva.example"
    assert received.message["To"] == "Ada <ada@xn--bcher-kva.example>"


def test_a_letter_of_a_whole_message_is_of_its_first_recipient_and_goes_to_all_again(
    queued: MailServer, settings: Settings, work: Work
) -> None:
    deliver_by(settings, f"{__name__}.Failing")
    if HAS_MAILERS:
        settings.MAILERS["really"].pop("OPTIONS", None)
    full_message().send()
    work(seconds=15)
    client = staff("view", "retry", "view_body")
    letter = DeadLetter.objects.get()
    deliver_into_outbox(settings)

    shown = client.get(page(letter)).content.decode()
    form = client.get(page(letter, "edit")).content.decode()
    with pytest.raises(NotRetryable, match="It can change priority"):
        letter.retry(to="eve@example.com")
    answer = client.post(page(letter, "edit"), {"priority": "2"})
    work()

    assert (letter.recipient, letter.recipient_domain) == ("ada@example.com", "example.com")
    assert "ada@example.com, bob@example.com, cy@example.com, hidden@example.com" in shown
    assert 'name="to"' not in form
    assert answer.status_code == 302
    (message,) = mail.outbox
    assert message.recipients() == full_message().recipients()


class Failing(BaseEmailBackend):
    """A mailer that cannot send what it gets."""

    def send_messages(self, email_messages: Any) -> int:
        raise KeyError("template")


def test_a_message_that_was_built_at_the_call_names_the_old_address_after_an_edit(
    queued: MailServer, work: Work
) -> None:
    queued.replies = ["550 5.1.1 no such mailbox"]
    Signed("Subject", "Body", OFFICE, ["Ada <adda@example.com>"]).send()
    work()
    letter = DeadLetter.objects.get()

    form = staff("view", "retry", "view_body").get(page(letter, "edit")).content.decode()
    letter.retry(to="ada@example.com")
    work()

    (received,) = queued.messages
    assert "still names the old recipient" in form
    assert received.recipient == "ada@example.com"
    assert received.message["To"] == "Ada <adda@example.com>"
    assert received.message["X-Signature"] == "of what was built"


def test_a_letter_of_a_message_has_no_context_to_edit(letter: DeadLetter) -> None:
    with pytest.raises(NotRetryable, match="It can change to, priority"):
        letter.retry(context={})
    with pytest.raises(InvalidAddress):
        letter.retry(to="ada")


def test_a_letter_that_is_retried_as_it_is_sends_the_same_message(
    letter: DeadLetter, queued: MailServer, work: Work
) -> None:
    letter.retry()
    work()

    assert queued.messages[0].message["To"] == "Ada <adda@example.com>"
    assert LARGE in [part.get_content() for part in queued.messages[0].message.iter_attachments()]


def test_a_job_that_holds_no_message_becomes_a_letter(queued: MailServer, valkey: Redis, work: Work) -> None:
    for arguments in ({}, {"to": "ada@example.com", "message": 7}, {"to": "ada@example.com", "message": THEFT}):
        job = NewJob(
            id=new_id(),
            queue="normal",
            function=DELIVER_MESSAGE,
            arguments=arguments,
            attempts=3,
            backoff=Backoff(),
            label="message",
        )
        Store(valkey).enqueue([job])

    work()

    assert [letter.reason for letter in DeadLetter.objects.all()] == ["malformed"] * 3
    assert queued.messages == []
