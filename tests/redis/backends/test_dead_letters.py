"""What becomes of a message of Django's that nobody takes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from pytest_django import Settings
from redis import Redis

from emailqueue.errors import InvalidAddress, NotRetryable
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.functions import DELIVER_MESSAGE
from emailqueue.jobs.job import NewJob, new_id
from emailqueue.models import DeadLetter, Status
from emailqueue.store import Store
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.django_mail import HAS_MAILERS, OFFICE, Signed, deliver_by, deliver_into_outbox, full_message
from tests.support.letters import page, staff

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
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


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
