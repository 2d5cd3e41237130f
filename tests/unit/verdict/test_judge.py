from __future__ import annotations

import re
import smtplib
import socket
import ssl
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from hypothesis import given
from hypothesis import strategies as st

from emailqueue.jobs.ends import End
from emailqueue.verdict.judge import judge, sentence, verdicts
from emailqueue.verdict.rule import PHASES, Evidence
from emailqueue.verdict.table import RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A real reply, with its source and what should be made of it: see smtp_replies.toml."""

    provider: str
    source: str
    phase: str
    end: str
    rule: str
    lines: tuple[str, ...]

    @property
    def code(self) -> int:
        return int(self.lines[0][:3])

    @property
    def reply(self) -> str:
        """The reply as smtplib hands it out: without codes."""
        return "\n".join(line[4:] for line in self.lines)


REPLIES = [
    Said(
        provider=page["provider"],
        source=page["source"],
        phase=phase,
        end=end,
        rule=rule,
        lines=tuple(reply.splitlines()),
    )
    for page in tomllib.loads(Path(__file__).with_name("smtp_replies.toml").read_text())["page"]
    for phase, end, rule, reply in page["said"]
]


@pytest.mark.parametrize("said", REPLIES, ids=lambda said: f"{said.provider}, {said.phase}: {said.lines[0][:60]}")
def test_a_real_reply_is_judged_as_its_provider_means_it(said: Said) -> None:
    judged = judge(said.phase, said.code, said.reply)

    assert (judged.end, judged.name) == (said.end, said.rule)


def test_the_real_replies_are_many_and_each_is_there_once() -> None:
    twice = [key for key, count in Counter((said.phase, said.lines) for said in REPLIES).items() if count > 1]

    assert len(REPLIES) >= 100
    assert len({said.provider for said in REPLIES}) >= 30
    assert {said.end for said in REPLIES} == {value for value, _label in verdicts()} - {"ambiguous"}
    assert all(said.source.startswith(("http://", "https://")) for said in REPLIES)
    assert twice == []


@pytest.mark.parametrize(
    ("phase", "line", "end"),
    [
        ("rcpt", "451 4.7.1 <ada@example.com>: Recipient address rejected: User is over quota", End.RETRY),
        ("rcpt", "552 5.1.1 mailbox is full", End.PERMANENT),
        ("body", "550 5.2.1 Content Filter agent quarantined this message", End.PERMANENT),
        ("rcpt", "550 5.1.0 Sender denied", End.WAIT),
        ("rcpt", "550 5.1.1 too many connections from your host", End.THROTTLE),
        ("body", "550 5.2.2 STOREDRV.Submission: submission quota exceeded", End.WAIT),
        ("rcpt", "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required", End.PERMANENT),
        ("rcpt", "550 5.7.1 user unknown", End.BAD_ADDRESS),
        ("rcpt", "550 5.1.1 connection limit exceeded", End.THROTTLE),
        ("rcpt", "554 5.1.1 sorry, no mailbox here by that name", End.BAD_ADDRESS),
        ("body", "550 no address record for the domain of a link", End.PERMANENT),
        ("api", "400 Failed to read 'from': invalid address", End.PERMANENT),
        ("api", "400 Error parsing 'To': illegal email domain", End.BAD_ADDRESS),
    ],
)
def test_words_come_before_a_status_that_lies(phase: str, line: str, end: End) -> None:
    judged = judge(phase, int(line[:3]), line[4:])

    assert judged.end is end


@pytest.mark.parametrize(
    ("phase", "code", "reply", "end"),
    [
        ("connect", 554, "no", End.WAIT),
        ("mail", 421, "closing", End.WAIT),
        ("mail", 451, "later", End.RETRY),
        ("mail", 552, "no", End.PERMANENT),
        *((phase, 421, "closing", End.THROTTLE) for phase in ("rcpt", "data", "body")),
        *((phase, 450, "4.7.1 no", End.THROTTLE) for phase in ("rcpt", "data", "body")),
        *((phase, 450, "no", End.RETRY) for phase in ("rcpt", "data", "body")),
        *((phase, 550, "no", End.PERMANENT) for phase in ("rcpt", "data", "body")),
        *((phase, 535, "no", End.WAIT) for phase in ("mail", "rcpt", "data", "body")),
        *((phase, 530, "no", End.WAIT) for phase in ("mail", "rcpt", "data", "body")),
        ("rcpt", 252, "who knows", End.RETRY),
    ],
)
def test_codes_without_words_are_judged_by_phase(phase: str, code: int, reply: str, end: End) -> None:
    judged = judge(phase, code, reply)

    assert judged.end is end


@pytest.mark.parametrize(
    ("phase", "error", "rule"),
    [
        ("connect", ConnectionRefusedError(111, "Connection refused"), "not-reached"),
        ("connect", socket.gaierror(-2, "Name or service not known"), "no-name"),
        ("connect", ssl.SSLCertVerificationError(1, "self-signed certificate"), "no-tls"),
        ("connect", TimeoutError("timed out"), "no-connection"),
        ("connect", smtplib.SMTPServerDisconnected("Connection unexpectedly closed"), "no-connection"),
        ("connect", smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server."), "not-supported"),
        ("connect", ImproperlyConfigured("no key"), "not-configured"),
        ("mail", TimeoutError("timed out"), "lost-at-mail"),
        ("rcpt", ConnectionResetError(104, "reset"), "cut"),
        ("data", smtplib.SMTPServerDisconnected("Connection unexpectedly closed"), "cut"),
        ("data", TimeoutError("timed out"), "silent"),
        ("rcpt", OSError(113, "No route to host"), "lost"),
        ("body", TimeoutError("timed out"), "lost-at-body"),
        ("api", ConnectionRefusedError(111, "Connection refused"), "not-reached"),
        ("api", TimeoutError("timed out"), "api-lost"),
        ("api", RuntimeError("what?"), "unknown"),
    ],
)
def test_an_error_without_a_reply_is_judged_by_its_class_and_phase(phase: str, error: Exception, rule: str) -> None:
    judged = judge(phase, error=error)

    assert judged.name == rule


def test_an_error_is_judged_by_what_caused_it() -> None:
    error = RuntimeError("The API cannot be reached")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")

    judged = judge("api", error=error)

    assert judged.name == "not-reached"


def test_errors_that_caused_each_other_are_looked_at_once() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first

    judged = judge("api", error=first)

    assert judged.name == "unknown"


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        ("5.1.1 no such user", "5.1.1", "no such user"),
        ("5.1.1 no such\n5.1.1 user", "5.1.1", "no such user"),
        ("#5.1.0 Address rejected.", "5.1.0", "Address rejected."),
        ("5.7.0, Mail Sending denied.", "5.7.0", ", Mail Sending denied."),
        ("no such user", "", "no such user"),
        ("5.1.1.7 is blocked", "", "5.1.1.7 is blocked"),
        ("2.1.5 and 5.1.1", "2.1.5", "and 5.1.1"),
        ("", "", ""),
    ],
)
def test_the_enhanced_status_is_what_the_reply_begins_with(reply: str, status: str, text: str) -> None:
    evidence = Evidence.of("rcpt", 550, reply, None)

    assert (evidence.status, evidence.text) == (status, text)


def test_a_very_long_reply_is_judged_by_its_beginning() -> None:
    judged = judge("rcpt", 550, "5.1.1 no such user " + "mailbox " * 1_000_000)

    assert judged.end is End.BAD_ADDRESS


@given(
    phase=st.sampled_from(PHASES),
    code=st.none() | st.integers(-1, 999),
    reply=st.text() | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3} .*"),
)
def test_every_answer_is_judged_and_every_verdict_has_a_sentence(phase: str, code: int | None, reply: str) -> None:
    judged = judge(phase, code, reply)

    assert sentence(judged.name).endswith(".")
    assert judged.end in End
    if phase == "connect":
        assert judged.end is End.WAIT
    if judged.end in (End.PERMANENT, End.THROTTLE):
        assert code is not None


def test_names_are_unique_and_sentences_are_translated_when_they_are_read() -> None:
    names = [rule.name for rule in RULES]

    assert len(set(names)) == len(names)
    assert all(isinstance(rule.sentence, Promise) for rule in RULES)
    assert all(re.fullmatch(r"[a-z-]{1,100}", name) for name in names)


@pytest.mark.parametrize("number", range(len(RULES)), ids=lambda number: RULES[number].name)
def test_each_rule_is_shown_by_an_example(number: int) -> None:
    rule = RULES[number]
    shown = {said.rule for said in REPLIES} | UNSAID.keys()

    assert rule.name in shown
    if rule.name in UNSAID:
        phase, code, reply, error = UNSAID[rule.name]
        assert judge(phase, code, reply, error=error).name == rule.name


def named(name: str) -> Exception:
    """Return an error whose class has that name."""
    error: Exception = type(name, (Exception,), {})()
    return error


UNSAID: dict[str, tuple[str, int | None, str, Exception | None]] = {
    "no-name": ("connect", None, "", socket.gaierror()),
    "no-tls": ("connect", None, "", ssl.SSLError()),
    "not-supported": ("connect", None, "", smtplib.SMTPNotSupportedError()),
    "not-configured": ("connect", None, "", ImproperlyConfigured()),
    "not-reached": ("connect", None, "", ConnectionRefusedError()),
    "no-connection": ("connect", None, "", OSError()),
    "login-in-dialogue-later": ("mail", 454, "4.7.0 Temporary authentication failure", None),
    "login-transition": ("mail", 432, "4.7.12 A password transition is needed", None),
    "our-dns-at-mail": ("mail", 550, "5.7.23 SPF check failed", None),
    "policy-at-mail": ("mail", 554, "5.7.1 Access denied", None),
    "mailbox-full-now": ("rcpt", 452, "4.2.2 cannot store more", None),
    "mailbox-full-by-code": ("rcpt", 552, "5.2.2 cannot store more", None),
    "no-address": ("rcpt", 550, "5.1.1 sorry", None),
    "no-domain": ("rcpt", 550, "5.4.4 Host not found", None),
    "not-local": ("rcpt", 551, "please try <ada@example.org>", None),
    "refused": ("rcpt", 550, "no", None),
    "lost-at-mail": ("mail", None, "", TimeoutError()),
    "lost-at-body": ("body", None, "", TimeoutError()),
    "silent": ("rcpt", None, "", TimeoutError()),
    "cut": ("data", None, "", ConnectionResetError()),
    "lost": ("rcpt", None, "", OSError()),
    "api-no-address": ("api", None, "", named("AnymailRecipientsRefused")),
    "api-message": ("api", None, "", named("AnymailUnsupportedFeature")),
    "api-to": ("api", 400, "'to' parameter is not a valid address. please check documentation", None),
    "api-unclear": ("api", 200, "Invalid JSON in Postmark API response", None),
    "api-login": ("api", 401, "Unauthorized", None),
    "api-limit": ("api", 429, "Too Many Requests", None),
    "api-away": ("api", 503, "Service Unavailable", None),
    "api-conflict": ("api", 409, "Conflict", None),
    "api-refused": ("api", 422, "Unprocessable", None),
    "api-lost": ("api", None, "", named("ReadTimeout")),
    "stock-worker": ("api", None, "", named("DeserializationError")),
    "unknown": ("api", None, "", RuntimeError()),
}
"""Rules that no reply of the table shows."""


@pytest.mark.parametrize(
    ("phase", "code", "reply", "is_about_account"),
    [
        ("connect", 535, "no", True),
        ("mail", 530, "no", True),
        ("rcpt", 554, "authentication required", True),
        ("api", 401, "no", True),
        ("connect", 421, "busy", False),
        ("connect", None, "", False),
    ],
)
def test_a_refusal_of_our_account_is_marked(phase: str, code: int | None, reply: str, is_about_account: bool) -> None:
    judged = judge(phase, code, reply)

    assert judged.end is End.WAIT
    assert judged.about_account is is_about_account


def test_an_unknown_name_has_no_sentence() -> None:
    assert sentence("gone with an old version") == ""
    assert sentence("") == ""
