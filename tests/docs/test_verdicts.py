"""docs/verdicts.md, held against the rules."""

from __future__ import annotations

from pathlib import Path

from emailqueue.verdict.rule import Rule
from emailqueue.verdict.table import RULES


def test_the_documentation_has_the_rules_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]

    assert rows == [row(rule) for rule in RULES]


def row(rule: Rule) -> str:
    """Return the rule as the page writes it."""
    when = [", ".join(rule.phases), rule.codes, rule.status and f"status {rule.status}"]
    when += [rule.text and f"words `{rule.text}`", ", ".join(rule.errors)]
    conditions = "; ".join(filter(None, when)).replace("|", r"\|") or "anything else"
    return f"| `{rule.name}` | {conditions} | {rule.end.value} | {rule.sentence} |"
