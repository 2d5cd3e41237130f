"""Rules of a project."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from emailqueue.errors import InvalidRule
from emailqueue.verdict import End, Rule, register_rule
from emailqueue.verdict import judge as verdict
from emailqueue.verdict.judge import judge, sentence


@pytest.fixture
def own_rules() -> Iterator[list[Rule]]:
    yield verdict.project_rules
    verdict.project_rules.clear()


def own_rule(*, name: str = "own", phases: tuple[str, ...] = ("rcpt",), text: str = "maintenance") -> Rule:
    return Rule(name=name, end=End.WAIT, phases=phases, text=text, sentence="Wait for Ada.")


def test_a_rule_of_the_project_comes_first(own_rules: list[Rule]) -> None:
    register_rule(own_rule())
    register_rule(own_rule(name="second"))

    judged = judge("rcpt", 550, "5.1.1 user unknown during MAINTENANCE")

    assert (judged.end, judged.name) == (End.WAIT, "own")
    assert sentence("own") == "Wait for Ada."
    assert judge("data", 550, "5.1.1 user unknown during maintenance").name == "no-address-said"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (own_rule(name="later"), "'later' exists already"),
        (own_rule(name=""), "is empty"),
        (own_rule(phases=("helo",)), "the phase 'helo'"),
        (own_rule(text="("), "no regular expression"),
    ],
)
def test_a_wrong_rule_is_refused(own_rules: list[Rule], rule: Rule, words: str) -> None:
    with pytest.raises(InvalidRule, match=re.escape(words)):
        register_rule(rule)

    assert own_rules == []
