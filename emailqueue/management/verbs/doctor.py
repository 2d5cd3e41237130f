"""Examine settings, servers, templates, workers and queues, and say what to do; exits with 1 when there is an error."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.checks import ERROR, INFO, WARNING, CheckMessage

from emailqueue.checks.doctor import examine
from emailqueue.management.command import Answer

VERSION = 2
"""Of the form of the JSON: it rises when a key or an id is renamed or goes, and not for a new one."""


ARGUMENTS = {
    "--json": {"action": "store_true", "help": "one JSON object, for probes"},
    "--mail": {"metavar": "ADDRESS", "help": "send a test mail there, past the queue"},
}


def run(*, json: bool, mail: str | None, **options: Any) -> Answer:
    findings = examine(mail_to=mail)
    return Answer(text=_as_json(findings) if json else _as_text(findings), status=int(worst(findings) == "error"))


def worst(findings: Iterable[CheckMessage]) -> str:
    """Return the level of the worst of them. Only an error means that mail does not, or will not, go out."""
    return _level(max((finding.level for finding in findings), default=INFO))


def _level(level: int) -> str:
    return "error" if level >= ERROR else "warning" if level >= WARNING else "ok"


def _as_json(findings: Sequence[CheckMessage]) -> str:
    entries = [
        {"id": one.id, "part": str(one.obj), "level": _level(one.level), "text": str(one.msg), "hint": one.hint or ""}
        for one in findings
    ]
    return json.dumps({"version": VERSION, "status": worst(findings), "findings": entries})


def _as_text(findings: Sequence[CheckMessage]) -> str:
    lines, marks = [], {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}
    for finding in findings:
        lines.append(f"{marks[_level(finding.level)]}  {finding.obj}: {finding.msg}")
        if finding.hint:
            lines.append(f"         → {finding.hint}")
    levels = [_level(finding.level) for finding in findings]
    lines.append(f"Errors: {levels.count('error')}, warnings: {levels.count('warning')}.")
    return "\n".join(lines)
