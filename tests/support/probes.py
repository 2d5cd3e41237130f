"""The command that probes of containers call."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command


def alive(*words: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("emailqueue", "alive", *words, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()
