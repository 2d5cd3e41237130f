"""Which rule judges a failed attempt, and what staff read about it."""

import re
from typing import Any

from emailqueue.errors import InvalidRule
from emailqueue.jobs.ends import End
from emailqueue.verdict.rule import PHASES, Evidence, Rule
from emailqueue.verdict.table import RULES

project_rules: list[Rule] = []
"""Rules that a project has registered, in its order."""


def judge(phase: str, code: int | None = None, reply: str = "", *, error: BaseException | None = None) -> Rule:
    """
    Return the rule that says what a failed attempt means.

    Phases are those of Failure.phase, and api for a backend that is not SMTP, whose code is the HTTP status.
    """
    evidence = Evidence.of(phase, code, reply, error)
    return next(rule for rule in all_rules() if rule.fits(evidence))  # the last one fits everything


def register_rule(rule: Rule) -> None:
    """
    Put a rule of the project before ours. The first registered is the first asked.

    The place for the call is the ready() of an AppConfig, so that it is done once in each process.
    Raises InvalidRule for a name that is taken, a phase that does not exist, and a text that is no regular expression.
    """
    if not rule.name or rule.name in {known.name for known in all_rules()}:
        raise InvalidRule(f"A rule named {rule.name!r} exists already, or the name is empty. Give it one of its own.")
    if unknown := [phase for phase in rule.phases if phase not in PHASES]:
        raise InvalidRule(f"Rule {rule.name!r} names the phase {unknown[0]!r}. There are {', '.join(PHASES)}.")
    try:
        re.compile(rule.text)
    except re.error as error:
        raise InvalidRule(f"The text of rule {rule.name!r} is no regular expression: {error}.") from error
    project_rules.append(rule)


def all_rules() -> tuple[Rule, ...]:
    """Return the rules in the order in which they are asked."""
    return (*project_rules, *RULES)


def sentence(name: str) -> str:
    """Return what staff read about the rule of that name, in their language; "" when there is none."""
    return next((str(rule.sentence) for rule in all_rules() if rule.name == name), "")


def verdicts() -> list[tuple[Any, Any]]:
    """Return the ends that rules name, with their labels."""
    named = {rule.end for rule in all_rules()}
    return [(end.value, end.label) for end in End if end in named]
