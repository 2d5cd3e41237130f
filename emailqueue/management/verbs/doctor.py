"""Examine settings, servers, templates, workers and queues, and say what to do; exits with 1 when there is an error."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from emailqueue.checks.examine import examine
from emailqueue.checks.finding import Finding, Level, worst
from emailqueue.management.answer import Answer

MARKS = {Level.OK: "ok     ", Level.WARNING: "warning", Level.ERROR: "ERROR  "}

VERSION = 1
"""Of the form of the JSON: it rises when a key or an id is renamed or goes, and not for a new one."""


def add_arguments(parser: ArgumentParser) -> None:
    """Take the form of the answer, and an address."""
    parser.add_argument("--json", action="store_true", help="one JSON object, for probes")
    parser.add_argument("--mail", metavar="ADDRESS", help="send a test mail there, beside the queue")


def run(*, json: bool, mail: str | None, **options: Any) -> Answer:
    """Examine, and return what was found."""
    findings = examine(mail_to=mail)
    text = _as_json(findings) if json else _as_text(findings)
    return Answer(text=text, status=int(worst(findings) is Level.ERROR))


def _as_json(findings: Sequence[Finding]) -> str:
    return json.dumps(
        {"version": VERSION, "status": worst(findings), "findings": [finding.as_json() for finding in findings]}
    )


def _as_text(findings: Sequence[Finding]) -> str:
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.level]}  {finding.part}: {finding.text}")
        if finding.way_out:
            lines.append(f"         → {finding.way_out}")
    bad = [finding.level for finding in findings]
    lines.append(f"Errors: {bad.count(Level.ERROR)}, warnings: {bad.count(Level.WARNING)}.")
    return "\n".join(lines)
