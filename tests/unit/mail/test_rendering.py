"""What a rendered mail is: context, headers, language, attachments."""

from __future__ import annotations

import email.policy
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email import message_from_bytes
from typing import Any

import pytest
from django.core import mail
from django.utils import translation
from pytest_django import Settings

from emailqueue.email_types import EmailType
from emailqueue.mail.rendering import TemplatedEmail, render
from tests.support.rendering import NOON, PARTS, Render, html_of


def test_the_template_sees_four_names_beside_the_context(write: Any, rendered: Render) -> None:
    seen = "{{ frontend_url }} {{ brand }} {{ email_type }} {{ recipient }}"
    guessed = "{{ protocol }}{{ domain }}{{ site_name }}{{ user }}"
    write(letter=PARTS.replace("Dear {{ name }}", f"{seen}{guessed}"))

    message = rendered(name="Ada")

    assert message.body == "https://app.example.com Modelrank letter ada@example.com"


def test_the_mail_s_own_context_wins(write: Any, rendered: Render) -> None:
    write(letter=PARTS.replace("{{ name }}", "{{ brand }}"))

    message = rendered(brand="Example")

    assert message.subject == "Hello Example"


def test_the_host_stands_in_for_the_name_of_a_sender(write: Any, rendered: Render, settings: Settings) -> None:
    settings.DEFAULT_FROM_EMAIL = "hello@modelrank.example"
    write(letter=PARTS.replace("{{ name }}", "{{ brand }}"))

    message = rendered()

    assert message.subject == "Hello app.example.com"


def test_headers_are_the_sender_s_own_and_no_others(write: Any, rendered: Render) -> None:
    write(letter=PARTS)

    sent = rendered(name="Ada").message()

    headers = {name: value for name, value in sent.items() if not name.startswith(("Content-", "MIME-"))}
    assert headers == {
        "Subject": "Hello Ada",
        "From": "Modelrank <hello@modelrank.example>",
        "To": "ada@example.com",
        "Message-ID": "<1@example.com>",
        "Date": "Sun, 04 May 2031 12:00:00 +0000",
        "Auto-Submitted": "auto-generated",
    }


def test_the_date_is_that_of_the_rendering(write: Any, rendered: Render) -> None:
    write(letter=PARTS)
    letter = EmailType(name="letter", template="letter.html")

    before = datetime.now(UTC).replace(microsecond=0)
    message = render(letter, "ada@example.com", {"name": "Ada"}, message_id="<1@example.com>")

    date = datetime.strptime(message.extra_headers["Date"], "%a, %d %b %Y %H:%M:%S %z")
    assert before <= date <= datetime.now(UTC)


def test_the_message_is_mime_that_the_standard_library_reads_back(write: Any, rendered: Render) -> None:
    write(letter=PARTS)

    raw = rendered(name="Žofie 🎉").message().as_bytes()
    read = message_from_bytes(raw, policy=email.policy.default)

    assert read.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]
    text, html = (part.get_content().strip() for part in read.iter_parts())
    assert (text, html) == ("Dear Žofie 🎉", "<p>Dear Žofie 🎉</p>")
    assert read["Subject"] == "Hello Žofie 🎉"
    assert not any(part.defects for part in read.walk())


def test_rendering_again_replaces_what_was_rendered(write: Any, rendered: Render) -> None:
    write(letter=PARTS)
    message = rendered(name="Ada")
    assert isinstance(message, TemplatedEmail)

    message.context = {"name": "Grace"}
    message.render()

    assert (message.subject, message.body) == ("Hello Grace", "Dear Grace")
    assert html_of(message) == "<p>Dear Grace</p>"


def test_sending_delivers_the_message_as_it_was_rendered(
    write: Any, rendered: Render, mailoutbox: list[mail.EmailMessage]
) -> None:
    write(letter=PARTS)
    message = rendered(name="Ada")

    sent = message.send()

    assert sent == 1
    assert [(mail.to, mail.subject) for mail in mailoutbox] == [(["ada@example.com"], "Hello Ada")]


def test_threads_that_render_one_template_do_not_mix(write: Any, rendered: Render) -> None:
    write(root=PARTS, letter='{% extends "root.html" %}{% block subject %}{{ block.super }}!{% endblock %}')
    names = [f"{number}&" for number in range(200)]

    with ThreadPoolExecutor(max_workers=5) as pool:
        messages = list(pool.map(lambda name: rendered(name=name), names))

    assert [message.subject for message in messages] == [f"Hello {name}!" for name in names]
    assert [message.body for message in messages] == [f"Dear {name}" for name in names]
    assert [html_of(message) for message in messages] == [f"<p>Dear {name[:-1]}&amp;</p>" for name in names]


DATED = """{% load i18n %}{% get_current_language as code %}
{% block subject %}{{ code }}{% endblock %}
{% block text_body %}{{ at|date:"F" }}{% endblock %}
{% block html_body %}<p>{{ code }}</p>{% endblock %}
"""


@pytest.mark.parametrize(
    ("called", "typed", "used"),
    [
        (None, None, "en"),
        ("de", None, "de"),
        (None, "de", "de"),
        ("pt-br", "de", "pt-br"),
        ("de-at", None, "de"),
        (None, "tlh", "en"),
        ("tlh", None, "en"),
    ],
)
def test_a_mail_is_in_the_language_of_its_call_or_of_its_type(
    write: Callable[..., None], called: str | None, typed: str | None, used: str
) -> None:
    write(dated=DATED)
    asked: list[object] = []

    def language(to: str, context: Mapping[str, Any]) -> str | None:
        asked.append((to, context))
        return typed

    kind = EmailType(name="dated", template="dated.html", language=language)

    with translation.override("fr"):  # staff who look at a preview
        message = render(kind, "ada@example.com", {"at": NOON}, message_id="<1@x>", language=called)
        active = translation.get_language()

    month = {"en": "May", "de": "Mai", "pt-br": "Maio"}[used]
    assert (message.body, active) == (month, "fr")
    assert asked == ([] if called else [("ada@example.com", {"at": NOON})])


@dataclass(frozen=True)
class Dated:
    at: datetime
    total: Decimal = Decimal("1234.5")


def test_a_date_is_a_date_to_template_language_and_attachments(write: Callable[..., None], settings: Settings) -> None:
    settings.TIME_ZONE, settings.USE_THOUSAND_SEPARATOR = "Asia/Tokyo", True
    write(dated=DATED.replace('"F" }}', '"j. F H:i" }} {{ total }}'))
    kind = EmailType(
        name="dated",
        template="dated.html",
        context=Dated,
        language=lambda _to, context: "de" if context["at"] == NOON else "en",
        attachments=lambda context: [(f"{context['at']:%Y}.txt", "", "text/plain")],
    )
    context = kind.complete(Dated(NOON), frontend_url="https://front.example")

    message = render(kind, "ada@example.com", json.loads(json.dumps(context)), message_id="<1@x>")

    assert message.body == "4. Mai 21:00 1.234,5"
    assert [part[0] for part in message.attachments] == ["2031.txt"]


def test_a_type_has_its_own_sender_reply_address_and_attachments(write: Callable[..., None]) -> None:
    write(letter=PARTS)
    kind = EmailType(
        name="letter",
        template="letter.html",
        from_email="Shop <shop@example.com>",
        reply_to=["help@example.com"],
        attachments=lambda context: [
            (f"{context['name']}.txt", f"{translation.get_language()}\n", None),
            ("a.pdf", b"%PDF", "application/pdf"),
        ],
    )

    message = render(kind, "ada@example.com", {"name": "Ada"}, message_id="<1@x>", language="de")

    parsed = message_from_bytes(message.message().as_bytes(), policy=email.policy.default)
    assert (parsed["From"], parsed["Reply-To"]) == ("Shop <shop@example.com>", "help@example.com")
    assert [(part.get_filename(), part.get_content()) for part in parsed.iter_attachments()] == [
        ("Ada.txt", "de\n"),
        ("a.pdf", b"%PDF"),
    ]
