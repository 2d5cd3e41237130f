"""What delivers Django's mail: SMTP, or another backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core import mail
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import send_mail
from pytest_django import Settings
from redis import Redis

from emailqueue import EmailType, get_queue_stats, register
from emailqueue.delivery.mailers import SMTP
from emailqueue.mail.messages import message_of
from emailqueue.mail.prepare import prepare
from emailqueue.models import DeadLetter
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.django_mail import OFFICE, QUEUE, Signed, deliver_by, deliver_into_outbox, full_message

LARGE = bytes(range(256)) * 300
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


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
