"""docs/signals.md, held against the signals, the topics and the mails that they lead to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from django.dispatch import Signal

from emailqueue import signals
from emailqueue.events import publish
from emailqueue.events.topics import Topic
from emailqueue.testing import EmailQueue
from events import topics
from tests.support.tables import ROOT, code, page, section, table

PAGE = page("signals")
SIGNALS = {code(row[0])[0]: row for row in table(PAGE, "signal", "sender", "arguments", "sent")}
TOPICS = {code(row[0])[0]: row for row in table(PAGE, "topic", "constant", "payload", "e-mail type", "to")}
VALUES: dict[str, Any] = {
    "an address": "ada@example.com",
    "a list of addresses; one that comes twice gets one mail": ["ada@example.com", "ada@example.com"],
    "a link": "https://example.com/there",
    "text or a whole number": "seven",
    "a whole number or text": 7,
    "a whole number": 7,
    "text or a number": 7.5,
    "text": "words",
}
HOLDS = {name: VALUES[holds] for names, holds in table(PAGE, "field", "holds") for name in code(names)}
BUILT_IN = {name: value for name, value in vars(topics).items() if isinstance(value, Topic)}


def payload(topic: str, *, optional: bool) -> dict[str, Any]:
    """Return what the page says that an event of `topic` carries, with its optional fields or without."""
    fields = code(TOPICS[topic][2])
    return {name.rstrip("?"): HOLDS[name.rstrip("?")] for name in fields if optional or not name.endswith("?")}


def test_each_signal_has_a_row_and_each_row_is_a_signal() -> None:
    assert {name for name, value in vars(signals).items() if isinstance(value, Signal)} == SIGNALS.keys()


def test_the_arguments_of_a_row_are_those_that_are_sent() -> None:
    told = {name: {*code(row[2]), f"sender={code(row[1])[0]}"} for name, row in SIGNALS.items()}

    assert dict(sent_arguments()) == told


def test_each_topic_has_a_row_and_each_row_is_a_topic() -> None:
    assert {code(row[1])[0]: name for name, row in TOPICS.items()} == {
        constant: topic.name for constant, topic in BUILT_IN.items()
    }


@pytest.mark.parametrize("topic", BUILT_IN.values(), ids=lambda topic: topic.name)
def test_the_payload_of_a_row_is_that_of_the_topic(topic: Topic) -> None:
    needed = topic.schema.fields.needed

    fields = [name if name in needed else f"{name}?" for name in topic.schema.fields.types]

    assert code(TOPICS[topic.name][2]) == fields


@pytest.mark.django_db
@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("topic", TOPICS)
def test_an_event_leads_to_the_mail_of_its_row(email_queue: EmailQueue, topic: str, optional: bool) -> None:
    publish(topic, payload(topic, optional=optional))

    email_queue.drain()

    assert [(email.email_type, email.to) for email in email_queue.emails] == [
        (code(TOPICS[topic][3])[0], "ada@example.com")
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("topic", "field", "link"),
    [
        ("vote.created", "profile_url", "models/seven"),
        ("reward.earned", "claim_url", "rewards"),
        ("user.registered", "referral_url", "join?ref=words"),
    ],
)
def test_links_are_built_as_the_page_says(email_queue: EmailQueue, topic: str, field: str, link: str) -> None:
    publish(topic, payload(topic, optional=topic == "user.registered"))

    email_queue.drain()

    assert email_queue.emails[0].context[field] == f"https://front.example/{link}"
    assert "FRONTEND_URL/" + link.replace("seven", "MODEL_ID").replace("words", "CODE") in section(PAGE, "Topics")


def sent_arguments() -> Iterator[tuple[str, set[str]]]:
    """Yield of each signal that our code sends its name, its arguments and its sender."""
    for file in (ROOT / "emailqueue").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="send" | "send_robust")) if (
                    name in SIGNALS
                ):
                    named = {str(keyword.arg) for keyword in node.keywords} - {"sender"}
                    [sender] = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "sender"]
                    yield name, {*named, f"sender={sender}"}
