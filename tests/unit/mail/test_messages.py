from __future__ import annotations

import json
from collections.abc import Sequence
from email.utils import parseaddr
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives
from hypothesis import assume, given
from hypothesis import strategies as st

from emailqueue.errors import InvalidMessage
from emailqueue.mail.messages import message_of
from emailqueue.mail.prepare import prepare
from tests.unit.mail.test_message_json import HEADERS, alternatives, attachments, line, on_the_wire, words

PEOPLE = [
    "ada@example.com",
    "Ada <ada@example.com>",
    '"Ada, again" <ada@example.com>',
    "bob@example.com",
    "Größe <cy@bücher.example>",
    '"a,b"@example.com',
]
people = st.lists(st.sampled_from(PEOPLE), max_size=3)
overrides = st.dictionaries(
    st.sampled_from(["To", "to", "TO", "Cc", "cc", "From", "from", "Reply-To", "reply-to", "Sender", "X-One"]),
    st.sampled_from(["list@example.com", "Liste <list@example.com>", "Größe <list@example.com>"]),
    max_size=4,
)


def sent(message: EmailMultiAlternatives, *, apart: bool) -> list[tuple[str, EmailMultiAlternatives]]:
    """What the jobs of a message send, each for whom, after JSON has carried it."""
    jobs = prepare(message, apart=apart).jobs()
    calls: list[dict[str, Any]] = [json.loads(json.dumps(job.arguments)) for job in jobs]
    return [(call["to"], message_of(call, apart=apart)) for call in calls]


def plain(addresses: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(parseaddr(address)[1] for address in addresses))


@given(
    to=people,
    cc=people,
    bcc=people,
    headers=overrides,
    subject=line,
    body=words,
    attached=st.lists(attachments, max_size=2),
    others=st.lists(alternatives, max_size=1),
)
def test_what_the_jobs_send_equals_the_message_that_was_sent(  # noqa: PLR0917 - hypothesis calls it by keyword
    to: list[str],
    cc: list[str],
    bcc: list[str],
    headers: dict[str, str],
    subject: str,
    body: str,
    attached: list[tuple[str | None, Any, str]],
    others: list[tuple[Any, str]],
) -> None:
    assume(to or cc or bcc)
    message = EmailMultiAlternatives(
        subject,
        body,
        "Office <office@sender.example>",
        to,
        bcc=bcc,
        cc=cc,
        reply_to=["answers@sender.example"],
        headers={**HEADERS, **headers},
        attachments=attached,
        alternatives=others,
    )
    try:
        wire = on_the_wire(message)
    except (AttributeError, LookupError, TypeError, ValueError):
        assume(False)

    copies = sent(message, apart=True)
    ((first, whole),) = sent(message, apart=False)

    assert [to for to, _copy in copies] == plain(message.recipients())
    for recipient, copy in copies:
        assert plain(copy.recipients()) == [recipient]
        assert sorted_headers(on_the_wire(copy)) == sorted_headers(wire)
    assert first == plain(message.recipients())[0]
    assert on_the_wire(whole) == wire
    assert (whole.to, whole.cc, whole.bcc, whole.extra_headers) == (to, cc, bcc, message.extra_headers)


def sorted_headers(wire: bytes) -> tuple[list[bytes], bytes]:
    """Headers in any order, each with the lines that it goes on in, and the rest."""
    head, _, rest = wire.partition(b"\n\n")
    return sorted(head.replace(b"\n ", b"\0").split(b"\n")), rest


def test_what_a_database_cannot_store_is_refused_at_the_call() -> None:
    message: Any = EmailMultiAlternatives("Subject", "Body", "a@example.com", ["b@example.com"])
    message.tags = ["\ud800"]

    with pytest.raises(InvalidMessage, match="cannot be queued"):
        prepare(message)
