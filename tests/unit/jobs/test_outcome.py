from __future__ import annotations

import json

import pytest

from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import MAX_TEXT, Failure, Outcome, shorten


def test_a_failure_tells_class_message_and_traceback() -> None:
    with pytest.raises(KeyError) as missing:
        dict[str, int]()["user"]

    failure = Failure.of(missing.value)

    assert (failure.error_class, failure.message) == ("KeyError", "'user'")
    assert failure.traceback.startswith("Traceback (most recent call last)")
    assert __file__ in failure.traceback


def test_an_error_of_a_library_is_named_with_its_module() -> None:
    failure = Failure.of(json.JSONDecodeError("bad", "", 0))

    assert failure.error_class == "json.decoder.JSONDecodeError"


def test_a_failed_outcome_says_what_failed() -> None:
    outcome = Outcome.failed(End.PERMANENT, ValueError("no"))

    assert outcome.end is End.PERMANENT
    assert outcome.failure is not None
    assert (outcome.failure.error_class, outcome.failure.message) == ("ValueError", "no")


def test_a_failure_says_where_in_the_dialogue_it_happened_and_which_rule_judged_it() -> None:
    failure = Failure.of(ValueError("no"), phase="rcpt", code=550, reply="550 no such mailbox", rule="no-address")

    assert (failure.phase, failure.smtp_code, failure.rule) == ("rcpt", 550, "no-address")
    assert failure.as_json()["smtp_reply"] == "550 no such mailbox"


def test_a_long_text_keeps_both_ends() -> None:
    text = shorten("begin" + "x" * MAX_TEXT + "end")

    assert text.startswith("begin")
    assert text.endswith("end")
    assert "8 characters left out" in text
    assert len(text) < MAX_TEXT + 100


def test_a_short_text_stays_but_for_nul() -> None:
    text = shorten("a\0b")

    assert text == "a␀b"
