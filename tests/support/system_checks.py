"""`manage.py check`, and what it prints."""

from __future__ import annotations

import io

from django.core.management import call_command


def check(tag: str | None = None) -> str:
    output = io.StringIO()
    call_command("check", tags=[tag] if tag else None, stdout=output, stderr=output)
    return output.getvalue()
