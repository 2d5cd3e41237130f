"""What a failed attempt means: what is done about it, and what staff should know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from emailqueue.errors import InvalidRule
from emailqueue.jobs.outcome import Kind
from emailqueue.verdict.rule import PHASES, Action, Answer, Rule
from emailqueue.verdict.table import RULES

__all__ = ["RULES", "Action", "Rule", "Verdict", "judge", "register_rule", "sentence"]

project_rules: list[Rule] = []
"""Rules that a project has registered, in its order."""

_kinds = {
    Action.RETRY: Kind.TRANSIENT,
    Action.HOLD_ALL: Kind.OUTAGE,
    Action.SLOW_DOMAIN: Kind.SLOWED,
    Action.DEAD_LETTER: Kind.PERMANENT,
    Action.BAD_ADDRESS: Kind.PERMANENT,
    Action.MAYBE_SENT: Kind.AMBIGUOUS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is done about one failed attempt, and by which rule."""

    action: Action
    rule: str
    """Name of the rule; sentence() has its words."""

    @property
    def kind(self) -> Kind:
        """How the attempt counts."""
        return _kinds[self.action]


def judge(phase: str, code: int | None = None, reply: str = "", *, error: BaseException | None = None) -> Verdict:
    """
    Return what a failed attempt means.

    Phases are those of Failure.phase, and api for a backend that is not SMTP, whose code is the HTTP status.
    """
    answer = Answer.of(phase, code, reply, error)
    rule = next(rule for rule in (*project_rules, *RULES) if rule.fits(answer))  # the last one fits everything
    return Verdict(action=rule.action, rule=rule.name)


def register_rule(rule: Rule) -> None:
    """
    Put a rule of the project before ours. The first registered is the first asked.

    The place for the call is the ready() of an AppConfig, so that it is done once in each process.
    Raises InvalidRule for a name that is taken, a phase that does not exist, and a text that is no regular expression.
    """
    if not rule.name or rule.name in {known.name for known in (*project_rules, *RULES)}:
        raise InvalidRule(f"A rule named {rule.name!r} exists already, or the name is empty. Give it one of its own.")
    if unknown := [phase for phase in rule.phases if phase not in PHASES]:
        raise InvalidRule(f"Rule {rule.name!r} names the phase {unknown[0]!r}. There are {', '.join(PHASES)}.")
    try:
        re.compile(rule.text)
    except re.error as error:
        raise InvalidRule(f"The text of rule {rule.name!r} is no regular expression: {error}.") from error
    project_rules.append(rule)


def sentence(name: str) -> str:
    """Return what staff read about a rule or an action, in their language; "" for a name that is neither."""
    for rule in project_rules:
        if rule.name == name:
            return str(rule.sentence)
    if name in _ours():
        return str(_ours()[name].sentence)
    return str(Action(name).label) if name in Action else ""


@cache
def _ours() -> dict[str, Rule]:
    return {rule.name: rule for rule in RULES}
