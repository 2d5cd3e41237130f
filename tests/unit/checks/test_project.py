from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rq
from django.core.checks import CheckMessage
from pytest_django import Settings

from emailqueue import EmailType, register
from emailqueue.checks.settings import check_django_rq, check_worker_class
from emailqueue.checks.templates import check_templates
from emailqueue.email_types import _registry, email_types
from emailqueue.worker import EmailWorker
from tests.conftest import ROOT
from tests.support.host_project import SETTINGS


class OwnWorker(EmailWorker):
    """That of a project which changes something."""


@pytest.fixture
def welcome() -> Iterator[EmailType]:
    """A type without a template."""
    yield register(EmailType(name="welcome", template="shop/email/welcome.html"))
    del _registry["welcome"]


def only(messages: list[CheckMessage]) -> CheckMessage:
    (message,) = messages
    assert message.hint
    return message


@pytest.mark.parametrize(
    "named",
    [None, {}, {"WORKER_CLASS": "rq.Worker"}, {"WORKER_CLASS": rq.SimpleWorker}, {"WORKER_CLASS": "no.such.Worker"}],
)
def test_a_forgotten_worker_class_is_warned_of_with_both_ways_out(
    settings: Settings, named: dict[str, Any] | None
) -> None:
    del settings.RQ
    if named is not None:
        settings.RQ = named

    message = only(check_worker_class())

    assert message.id == "emailqueue.W017"
    assert 'RQ = {"WORKER_CLASS": "emailqueue.worker.EmailWorker"}' in str(message.hint)
    assert "--worker-class emailqueue.worker.EmailWorker" in str(message.hint)
    assert "SILENCED_SYSTEM_CHECKS" in str(message.hint)


@pytest.mark.parametrize("named", ["emailqueue.worker.EmailWorker", EmailWorker, OwnWorker])
def test_our_worker_and_those_made_of_it_are_fine(settings: Settings, named: object) -> None:
    settings.RQ = {"WORKER_CLASS": named}

    assert check_worker_class() == []


def test_a_forgotten_django_rq_is_an_error(tmp_path: Path) -> None:
    assert check_django_rq() == []
    (tmp_path / "project_settings.py").write_text(SETTINGS.replace('"django_rq", ', ""))

    run = subprocess.run(
        [sys.executable, "-m", "django", "check"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "DJANGO_SETTINGS_MODULE": "project_settings"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.returncode == 1
    assert "(emailqueue.E018) INSTALLED_APPS has no 'django_rq'" in run.stderr
    assert "Add 'django_rq'." in run.stderr
    assert run.stderr.count("emailqueue.") == 1


def test_a_type_whose_template_does_not_exist_is_an_error(welcome: EmailType) -> None:
    message = only(check_templates())

    assert message.id == "emailqueue.E019"
    assert message.msg == "The template 'shop/email/welcome.html' of the e-mail type 'welcome' does not exist."


@pytest.mark.parametrize("content", ["", "{% block subject %}"])
def test_a_template_that_exists_is_not_judged_here(
    welcome: EmailType, settings: Settings, tmp_path: Path, content: str
) -> None:
    (tmp_path / "shop/email").mkdir(parents=True)
    (tmp_path / "shop/email/welcome.html").write_text(content)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [*settings.TEMPLATES[0]["DIRS"], tmp_path]}]

    assert check_templates() == []


@pytest.mark.parametrize("engines", ["without those of apps", "none"])
def test_types_without_templates_are_named(settings: Settings, engines: str) -> None:
    settings.TEMPLATES = [] if engines == "none" else [{**settings.TEMPLATES[0], "APP_DIRS": False, "DIRS": []}]

    messages = {message.msg: message.hint for message in check_templates()}

    [hint] = [hint for words, hint in messages.items() if "'vote-confirmation'" in words]
    assert len(messages) == len(email_types())
    assert 'folder "templates"' in str(hint)
