"""The language of a mail, from its call to its delivery, by way of a dead letter, too."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.core import mail

from emailqueue import EmailType, email_types, queue_bulk_emails, register
from emailqueue.dead_letters.preview import render_now
from emailqueue.testing import EmailQueue
from events import queue_referral_join

JOIN = {"user_name": "Ada"}


@dataclass(frozen=True)
class Join:
    user_name: str
    referrer_name: str | None = None


def test_a_mail_is_delivered_in_the_language_of_its_call(email_queue: EmailQueue) -> None:
    queue_referral_join("ada@example.com", JOIN, language="de")
    queue_referral_join("mary@example.com", JOIN)

    email_queue.drain()

    assert {message.to[0]: 'lang="de"' in html(message) for message in mail.outbox} == {
        "ada@example.com": True,
        "mary@example.com": False,
    }


@pytest.mark.django_db
@pytest.mark.parametrize("edits", [{}, {"to": "mary@example.com"}])
def test_the_retry_of_a_letter_keeps_the_language(email_queue: EmailQueue, edits: dict[str, str]) -> None:
    email_queue.mail_server("550 5.1.1 no such mailbox")
    queue_referral_join("ada@example.com", JOIN, language="de")
    (letter,) = email_queue.drain().dead

    shown = render_now(letter)
    letter.retry(**edits)

    (waiting,) = email_queue.waiting
    assert 'lang="de"' in shown.html
    assert waiting.language == "de"


def test_many_recipients_may_have_objects_of_the_dataclass(email_queue: EmailQueue) -> None:
    kind = register(EmailType(name="join", template="events/referral-join.html", context=Join))

    queue_bulk_emails(
        kind, ["ada@example.com", ("mary@example.com", Join("Mary", "Grace"))], Join("friend"), language="de"
    )

    email_types._registry.pop("join")
    assert [(email.to, email.context, email.language) for email in email_queue.emails] == [
        ("ada@example.com", {"user_name": "friend"}, "de"),
        ("mary@example.com", {"user_name": "Mary", "referrer_name": "Grace"}, "de"),
    ]


def html(message: object) -> str:
    return str(message.alternatives[0][0])  # type: ignore[attr-defined]  # outbox holds EmailMultiAlternatives
