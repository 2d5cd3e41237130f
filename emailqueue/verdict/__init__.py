"""What a failed attempt means: the rules, and how a project adds its own."""

from emailqueue.jobs.ends import End
from emailqueue.verdict.judge import register_rule
from emailqueue.verdict.rule import Rule

__all__ = ["End", "Rule", "register_rule"]
