"""The six built-in e-mails: their copy, links, text twin and layout."""

from __future__ import annotations

import email.policy
import re
from collections.abc import Mapping
from email import message_from_bytes
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives
from pytest_django import Settings

from emailqueue.email_types import get_email_type
from emailqueue.mail.rendering import render

FRONTEND_URL = "https://app.example.com"
PROFILE_URL = "https://elsewhere.example/models/nova-3?from=mail&lang=en"
CONTEXTS: Mapping[str, Mapping[str, Any]] = {
    "vote-confirmation": {"model_name": "Nova 3", "profile_url": PROFILE_URL},
    "progress-update": {
        "model_name": "Nova 3",
        "vote_count": 1003,
        "milestone": 1000,
        "profile_url": PROFILE_URL,
    },
    "rank-update": {
        "model_name": "Nova 3",
        "rank_position": 3,
        "previous_rank": 7,
        "vote_count": 1003,
        "profile_url": PROFILE_URL,
    },
    "reward-delivery": {
        "reward_name": "Early supporter badge",
        "claim_url": "https://elsewhere.example/claim?reward=1&of=2",
        "reward_value": "€25",
    },
    "referral-join": {
        "user_name": "Ada",
        "referrer_name": "Grace",
        "referral_url": "https://elsewhere.example/join?ref=ADA&x=1",
    },
    "referral-milestone": {"user_name": "Ada", "referral_count": 5, "reward_name": "Gold badge"},
}
ALL = [(name, dict(context)) for name, context in CONTEXTS.items()]
NEEDED = [
    (name, {key: value for key, value in context.items() if key in get_email_type(name).needed})
    for name, context in CONTEXTS.items()
]
each_mail = pytest.mark.parametrize(
    ("name", "context"),
    [*ALL, *NEEDED],
    ids=[*(f"{name}-all" for name, _ in ALL), *(f"{name}-needed" for name, _ in NEEDED)],
)


class Outline(HTMLParser):
    """The links of a page and the attributes of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.roles: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")
        if tag == "table":
            self.roles.append(dict(attrs).get("role"))


@pytest.fixture(autouse=True)
def brand(settings: Settings) -> None:
    settings.EMAIL_QUEUE = {"FRONTEND_URL": FRONTEND_URL}
    settings.DEFAULT_FROM_EMAIL = "Modelrank <hello@modelrank.example>"


def write(name: str, **context: Any) -> EmailMultiAlternatives:
    return render(get_email_type(name), "ada@example.com", context, message_id="<1@example.com>")


def html_of(message: EmailMultiAlternatives) -> str:
    [(html, _)] = message.alternatives
    return str(html)


def text_of(message: EmailMultiAlternatives) -> str:
    return str(message.body)


def prose(message: EmailMultiAlternatives) -> str:
    """Return what a reader sees of the HTML."""
    body = html_of(message).partition("</head>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@each_mail
def test_each_mail_reads_well_with_all_fields_or_those_needed(name: str, context: dict[str, Any]) -> None:
    message = write(name, **context)

    for part in (str(message.subject), text_of(message), prose(message)):
        assert part
        assert not re.search(r"\{[{%#]|%\(|None|\s[.,!:]|\(\)", part)
    assert len(message.subject) <= 70
    assert "\n\n\n" not in message.body


@each_mail
def test_each_mail_is_mime_that_the_standard_library_reads_back(name: str, context: dict[str, Any]) -> None:
    message = write(name, **context)

    read = message_from_bytes(message.message().as_bytes(), policy=email.policy.default)

    text, html = read.iter_parts()
    assert not any(part.defects for part in read.walk())
    assert text.get_content().strip() == message.body
    assert html.get_content().strip() == html_of(message)


@each_mail
def test_each_fact_stands_in_the_text_and_in_the_html(name: str, context: dict[str, Any]) -> None:
    message = write(name, **context)

    for value in map(str, context.values()):
        assert value in message.body
        assert value in unescape(html_of(message))


@each_mail
def test_links_lead_to_the_frontend_or_where_the_context_says(name: str, context: dict[str, Any]) -> None:
    message = write(name, **context)

    links = Outline(html_of(message)).links
    given = {value for key, value in context.items() if key.endswith("_url")}
    assert given <= set(links)
    assert all(link in given or link.startswith(FRONTEND_URL) for link in links)


@each_mail
def test_the_text_carries_each_link_of_the_html(name: str, context: dict[str, Any]) -> None:
    message = write(name, **context)

    lines = message.body.splitlines()
    assert set(Outline(html_of(message)).links) == {line for line in lines if line.startswith("https://")}


@each_mail
def test_each_mail_says_whom_it_is_for_and_why(name: str, context: dict[str, Any]) -> None:
    message = write(name, **context)

    [reason] = re.findall(r"You get this mail because .*?ada@example\.com.*? at Modelrank\.", text_of(message))
    assert reason in prose(message)


@each_mail
def test_markup_in_the_context_is_shown_and_not_obeyed(name: str, context: dict[str, Any]) -> None:
    names = {"model_name", "reward_name", "reward_value", "user_name", "referrer_name"} & set(context)
    words = dict.fromkeys(names, "<b>Q&A</b>")

    message = write(name, **context | words)

    assert "<b>Q&A</b>" in text_of(message)
    assert "&lt;b&gt;Q&amp;A&lt;/b&gt;" in html_of(message)
    assert "<b>" not in html_of(message)
    assert not re.search("&(lt|gt|amp);", f"{message.subject} {message.body}")


@each_mail
def test_each_mail_keeps_to_what_mail_clients_show(name: str, context: dict[str, Any]) -> None:
    html = html_of(write(name, **context))

    assert html.startswith('<!doctype html>\n<html lang="en')
    assert set(Outline(html).roles) == {"presentation"}
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "max-width:600px" in html
    assert re.search(r'<div style="display:none;[^"]*mso-hide:all;">\w[^<]+</div>', html)
    assert not re.search(r"<(img|script|link|iframe|form)|url\(|@import|@font-face|position:|flex", html)
    assert len(html.encode()) < 20_000


@pytest.mark.parametrize("name", ["progress-update", "rank-update"])
@pytest.mark.parametrize(("votes", "said"), [(0, "0 votes"), (1, "1 vote"), (2, "2 votes")])
def test_votes_are_counted_in_good_english(name: str, votes: int, said: str) -> None:
    message = write(name, **{**CONTEXTS[name], "vote_count": votes})

    assert re.search(rf"\b{said}\b", text_of(message))
    assert re.search(rf"\b{said}\b", prose(message))


def test_one_friend_is_not_one_friends() -> None:
    one = write("referral-milestone", user_name="Ada", referral_count=1)
    two = write("referral-milestone", user_name="Ada", referral_count=2)

    assert one.subject == "1 friend joined because of you"
    assert "1 friend joined because of you" in prose(one)
    assert two.subject == "2 friends joined because of you"
    assert "2 friends joined because of you" in prose(two)


@pytest.mark.parametrize(
    ("rank", "subject", "ranks"),
    [
        (3, "Nova 3 climbed to #3", "#7 → #3"),
        (9, "Nova 3 slipped to #9", "#7 → #9"),
        (7, "Nova 3 holds #7", "#7"),
    ],
)
def test_a_rank_climbs_slips_or_holds(rank: int, subject: str, ranks: str) -> None:
    message = write("rank-update", model_name="Nova 3", rank_position=rank, previous_rank=7, vote_count=12)

    assert message.subject == subject
    assert f"{subject} {ranks} 12 votes so far" in prose(message)


def test_a_milestone_may_be_told_in_words() -> None:
    message = write("progress-update", model_name="Nova 3", vote_count=10, milestone="Top 10")

    assert message.subject == "Nova 3 reached a milestone: Top 10"


def test_a_friend_s_reward_is_claimed_at_the_frontend() -> None:
    message = write("referral-milestone", user_name="Ada", referral_count=5, reward_name="Gold badge")

    assert f"{FRONTEND_URL}/rewards" in Outline(html_of(message)).links


def test_a_project_s_address_stands_below_the_text_and_the_html(settings: Settings, tmp_path: Any) -> None:
    backend = settings.TEMPLATES[0]
    settings.TEMPLATES = [{**backend, "DIRS": [tmp_path, *backend["DIRS"]]}]
    override = tmp_path / "emailqueue/email/address.txt"
    override.parent.mkdir(parents=True)
    override.write_text("Modelrank Ltd, 1 High Street, Leeds\n")

    message = write("referral-join", user_name="Ada")

    assert message.body.endswith(f"\nModelrank\n{FRONTEND_URL}\nModelrank Ltd, 1 High Street, Leeds")
    assert prose(message).endswith("Modelrank Ltd, 1 High Street, Leeds")
