from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from email import charset, message_from_bytes, policy
from email.message import EmailMessage as MIMEMessage
from email.message import MIMEPart
from email.mime.image import MIMEImage
from typing import Any

import django
import pytest
from anymail.message import AnymailMessage
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.timezone import make_aware
from django.utils.translation import gettext_lazy
from hypothesis import assume, given
from hypothesis import strategies as st

from emailqueue.errors import InvalidMessage
from emailqueue.mail.content import as_bytes, inline, read_inline
from emailqueue.mail.message_json import builds_itself, put_together, replaced, take_apart

PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HEADERS = {"Date": "Mon, 04 May 2026 12:00:00 -0000", "Message-ID": "<1@sender.example>"}

line = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120)
words = st.text(st.characters(exclude_categories=["Cs"], include_characters="\n .\0"), max_size=300)
long_lines = st.text("aä€ \n.", min_size=900, max_size=3000)
filenames = st.one_of(
    st.none(), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=80).map("{}.x".format)
)
attachments = st.one_of(
    st.tuples(filenames, st.binary(max_size=500), st.sampled_from(["image/png", "application/octet-stream", "a/b"])),
    st.tuples(filenames, words, st.sampled_from(["text/plain", "text/csv", "text/calendar", "application/json"])),
)
alternatives = st.one_of(
    st.tuples(st.one_of(words, long_lines), st.sampled_from(["text/html", "text/calendar", "text/x-amp-html"])),
    st.tuples(st.binary(max_size=100), st.just("application/ics")),
)
NAMES = ["X-One", "X-Two", "List-Id", "In-Reply-To"]


def through_json(message: EmailMessage) -> EmailMultiAlternatives:
    written = json.dumps(replaced(take_apart(message), inline), ensure_ascii=False).encode()
    return put_together(replaced(json.loads(written), read_inline))


def on_the_wire(message: EmailMessage) -> bytes:
    """What a server gets, but for the random boundaries."""
    return re.sub(rb"=====+\d+==", b"boundary", as_bytes(message.message()))


@given(
    subject=line,
    body=st.one_of(words, long_lines),
    attached=st.lists(attachments, max_size=3),
    others=st.lists(alternatives, max_size=2),
    headers=st.dictionaries(st.sampled_from(NAMES), line, max_size=3),
    names=st.lists(st.text("ab ,ä", max_size=6), min_size=1, max_size=3),
)
def test_a_message_that_comes_out_equals_the_one_that_went_in(  # noqa: PLR0917 - hypothesis calls it by keyword
    subject: str,
    body: str,
    attached: list[tuple[str | None, Any, str]],
    others: list[tuple[Any, str]],
    headers: dict[str, str],
    names: list[str],
) -> None:
    people = [f'"{name}" <r{number}@example.com>' for number, name in enumerate(names)]
    message = EmailMultiAlternatives(
        subject,
        body,
        "Büro <office@sender.example>",
        people,
        cc=people[1:],
        bcc=["hidden@example.com"],
        reply_to=["answers@bücher.example"],
        headers={**HEADERS, **headers},
        attachments=attached,
        alternatives=others,
    )
    try:
        sent = on_the_wire(message)
    except (AttributeError, LookupError, TypeError, ValueError):
        assume(False)

    again = through_json(message)

    assert on_the_wire(again) == sent
    assert again.recipients() == message.recipients()
    assert (again.subject, again.body, again.from_email) == (subject, message.body, message.from_email)
    assert again.attachments == message.attachments
    assert again.alternatives == message.alternatives


def whole_part(message: EmailMessage) -> None:
    part = MIMEPart(policy=policy.default)
    part.set_content(PIXEL, maintype="image", subtype="png", cid="<logo@sender.example>", disposition="inline")
    message.attachments.append(part)


def legacy_part(message: EmailMessage) -> None:
    part = MIMEImage(PIXEL, "png")
    part.add_header("Content-ID", "<logo@sender.example>")
    message.attachments.append(part)


def forwarded_bytes(message: EmailMessage) -> None:
    message.attach("mail.eml", b"Subject: Before\n\nFrom the start\n", "message/rfc822")


def forwarded_message(message: EmailMessage) -> None:
    message.attach("mail.eml", EmailMessage("Before", "text", "a@example.com", headers=HEADERS), "message/rfc822")


def forwarded_mime(message: EmailMessage) -> None:
    before = MIMEMessage(policy=policy.default)
    before["Subject"] = "Before"
    before.set_content("text ä\n")
    message.attach(None, before, "message/rfc822")


def quoted_printable(message: EmailMessage) -> None:
    message.encoding = "iso-8859-1"
    message.body = "Grüße"


def html_only(message: EmailMessage) -> None:
    message.content_subtype = "html"


LEGACY = django.VERSION < (6, 0)
ways = [legacy_part, forwarded_bytes, forwarded_message, forwarded_mime, quoted_printable, html_only]


@pytest.mark.parametrize("way", ways if LEGACY else [*ways, whole_part])
def test_parts_that_are_whole_or_forwarded_come_out_as_they_went_in(way: Callable[[EmailMessage], None]) -> None:
    message = EmailMultiAlternatives("Subject", "Body", "a@example.com", ["b@example.com"], headers=HEADERS)
    way(message)

    again = through_json(message)

    assert on_the_wire(again) == on_the_wire(message)


@pytest.mark.skipif(not LEGACY, reason="Django 6 refuses both")
def test_a_charset_and_a_subtype_of_ones_own_come_out() -> None:
    message = EmailMultiAlternatives("Subject", "Grüße", "a@example.com", ["b@example.com"], headers=HEADERS)
    message.attach_alternative("<b>Grüße</b>", "text/html")
    encoding = charset.Charset("utf-8")
    encoding.body_encoding = charset.QP
    message.encoding, message.alternative_subtype = encoding, "related"  # type: ignore[attr-defined,unused-ignore]

    again = through_json(message)

    assert b"multipart/related" in on_the_wire(again)
    assert on_the_wire(again) == on_the_wire(message)


def test_what_is_lazy_is_said_when_the_message_is_queued() -> None:
    message = EmailMessage(gettext_lazy("Yes"), gettext_lazy("No"), "a@example.com", ["b@example.com"])

    again = through_json(message)

    assert (again.subject, again.body) == ("Yes", "No")


def test_what_an_api_reads_beside_the_message_is_kept() -> None:
    message: Any = EmailMessage("Subject", "Body", "a@example.com", ["b@example.com"])
    message.tags, message.metadata = {"welcome"}, {"order": 7}
    message.send_at, message.track_opens = datetime(2026, 5, 4, tzinfo=UTC), False

    again: Any = through_json(message)

    assert (again.tags, again.metadata, again.send_at, again.track_opens) == (
        ["welcome"],
        {"order": 7},
        1777852800.0,
        False,
    )


def test_what_a_message_of_anymail_does_not_set_is_not_kept() -> None:
    message = AnymailMessage("Subject", "Body", "a@example.com", ["b@example.com"], tags=["welcome"])
    message.send_at, message.metadata = date(2026, 5, 4), {"name": gettext_lazy("Yes"), "sum": Decimal("1.50")}
    message.merge_global_data = {"day": date(2026, 5, 4)}

    parts = take_apart(message)
    again: Any = through_json(message)

    assert parts["esp"] == {
        "tags": ["welcome"],
        "send_at": make_aware(datetime(2026, 5, 4)).timestamp(),  # noqa: DTZ001 - made aware here
        "metadata": {"name": "Yes", "sum": "1.50"},
        "merge_global_data": {"day": "2026-05-04"},
    }
    assert again.tags == ["welcome"]
    assert not hasattr(again, "template_id")


def test_what_an_api_reads_must_be_something_that_can_be_kept() -> None:
    message: Any = EmailMessage("Subject", "Body", "a@example.com", ["b@example.com"])
    message.metadata = {"order": object()}

    with pytest.raises(InvalidMessage, match="cannot be queued"):
        take_apart(message)


STEPS = (
    ["_create_message", "_create_attachments", "_create_alternatives", "_create_attachment"]
    if LEGACY
    else ["_add_bodies", "_add_attachments", "_add_attachment"]
)


@pytest.mark.parametrize("step", [*STEPS, "_set_list_header_if_not_empty"])
def test_a_class_with_one_step_of_its_own_builds_its_message_itself(step: str) -> None:
    """As packages do that add inline pictures."""

    def adds(self: Any, msg: Any, *rest: Any) -> Any:
        built = getattr(EmailMultiAlternatives, step)(self, msg, *rest)
        (msg if hasattr(msg, "__setitem__") else built)["X-Step"] = "of its own"
        return built

    kind = type("Own", (EmailMultiAlternatives,), {step: adds})

    message = kind("Subject", "Body", "a@example.com", ["b@example.com"])

    assert builds_itself(message)
    assert not builds_itself(AnymailMessage())
    assert not builds_itself(EmailMessage())
    assert not builds_itself(type("Own", (EmailMessage,), {"extra": 1, "send": len})())


class Signed(EmailMessage):
    """Builds its MIME by itself, as packages that sign do."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["X-Signature"] = "a" * 60
        return built


def test_a_message_that_builds_itself_goes_out_as_it_was_built() -> None:
    message = Signed("Grüße", "Body", "a@example.com", ["b@example.com"], headers=HEADERS)
    built = as_bytes(message.message())

    again = put_together({**take_apart(message), "wire": built})

    assert builds_itself(message)
    assert not builds_itself(EmailMultiAlternatives())
    assert as_bytes(again.message()) == built
    assert message_from_bytes(built)["X-Signature"] == "a" * 60
    assert again.subject == "Grüße"


@pytest.mark.parametrize("kind", ["whole part", "parcel"])
def test_a_content_of_no_known_kind_is_refused(kind: str) -> None:
    attachment = {"kind": kind, "content": b"", "filename": "a.bin", "mimetype": None}

    with pytest.raises(ValueError, match="no kind of content"):
        put_together({"from": "a@example.com", "attachments": [attachment]})


def test_only_what_was_taken_from_a_message_is_put_back() -> None:
    again = put_together({"from": "a@example.com", "esp": {"tags": ["welcome"], "send": "nothing"}})

    assert (vars(again)["tags"], "send" in vars(again)) == (["welcome"], False)
