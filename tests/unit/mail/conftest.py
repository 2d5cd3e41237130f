"""Templates that tests write, and what is rendered of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives
from pytest_django import Settings

from emailqueue.email_types import EmailType
from emailqueue.mail.rendering import render
from tests.support.rendering import NOON, Render


@pytest.fixture
def write(settings: Settings, tmp_path: Path) -> Callable[..., None]:
    """Write templates, by name and source, that win over all others."""
    backend = settings.TEMPLATES[0]
    settings.TEMPLATES = [{**backend, "DIRS": [tmp_path, *backend["DIRS"]]}]

    def write(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / f"{name}.html").write_text(source, encoding="utf-8")

    return write


@pytest.fixture
def rendered(settings: Settings) -> Render:
    """Render the template `letter` with a context."""
    settings.EMAIL_QUEUE = {"FRONTEND_URL": "https://app.example.com"}
    settings.DEFAULT_FROM_EMAIL = "Modelrank <hello@modelrank.example>"

    def rendered(**context: Any) -> EmailMultiAlternatives:
        letter = EmailType(name="letter", template="letter.html")
        return render(letter, "ada@example.com", context, message_id="<1@example.com>", now=NOON)

    return rendered
