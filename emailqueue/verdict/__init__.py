"""What a failed attempt means: the rules, and how a project adds its own."""

from emailqueue.verdict.judge import register_rule
from emailqueue.verdict.rule import Action, Rule

__all__ = ["Action", "Rule", "register_rule"]
