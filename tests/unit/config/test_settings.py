from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import django
import pytest

VARIABLES = ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "DEBUG", "FRONTEND_URL", "DEFAULT_FROM_EMAIL")
SHOW = """
import json
from config import settings
print(json.dumps({key: value for key, value in vars(settings).items() if key.isupper()}, default=str))
"""


def start(**variables: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if name not in VARIABLES and "EMAIL_" not in name}
    return subprocess.run(
        [sys.executable, "-c", SHOW], env={**ours, **variables}, capture_output=True, text=True, check=False
    )


def settings(**variables: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(start(**variables).stdout)
    return loaded


def mail(loaded: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if django.VERSION >= (6, 1):
        return loaded["MAILERS"]["default"]["BACKEND"], loaded["MAILERS"]["default"]["OPTIONS"]
    names = {"host": "HOST", "port": "PORT", "use_tls": "USE_TLS", "use_ssl": "USE_SSL", "timeout": "TIMEOUT"}
    return loaded["EMAIL_BACKEND"], {option: loaded[f"EMAIL_{name}"] for option, name in names.items()}


def test_a_step_of_the_mail_server_is_shorter_than_the_job_that_it_is_a_part_of() -> None:
    usual, hurried = settings(EMAIL_HOST="mail.example"), settings(EMAIL_HOST="mail.example", EMAIL_JOB_TIMEOUT="15")

    assert (mail(usual)[1]["timeout"], mail(hurried)[1]["timeout"]) == (60, 7)
    assert hurried["EMAIL_QUEUE"] == {"JOB_TIMEOUT": 15}


def test_an_empty_environment_is_a_developer() -> None:
    loaded = settings()

    backend, _ = mail(loaded)

    assert loaded["DEBUG"] is True
    assert loaded["EMAIL_QUEUE"] == {}
    assert backend == "django.core.mail.backends.console.EmailBackend"


@pytest.mark.parametrize(
    "variables",
    [
        {"DEBUG": "0"},
        {"ALLOWED_HOSTS": "mail.example"},
        {"DATABASE_URL": "postgres://ada:pw@db.example/mail"},
    ],
)
def test_what_looks_like_production_does_not_start_without_a_secret_key(variables: dict[str, str]) -> None:
    stopped = start(**variables)

    assert stopped.returncode == 1
    assert "SECRET_KEY is not set and DEBUG is off." in stopped.stderr


def test_a_secret_key_alone_turns_debugging_off_and_the_console_too() -> None:
    loaded = settings(SECRET_KEY="of production")

    backend, server = mail(loaded)

    assert loaded["DEBUG"] is False
    assert loaded["SESSION_COOKIE_SECURE"] is True
    assert backend == "django.core.mail.backends.smtp.EmailBackend"
    assert (server["host"], server["port"], server["timeout"]) == ("localhost", 25, 60)


@pytest.mark.parametrize(
    ("variables", "port", "starttls", "tls"),
    [
        ({}, 587, True, False),
        ({"EMAIL_PORT": "465"}, 465, False, True),
        ({"EMAIL_PORT": "2525"}, 2525, True, False),
    ],
)
def test_the_port_decides_how_tls_begins(
    variables: dict[str, str],
    port: int,
    starttls: bool,
    tls: bool,
) -> None:
    _, server = mail(settings(EMAIL_HOST="smtp.example", EMAIL_USE_TLS="1", **variables))

    assert (server["port"], server["use_tls"], server["use_ssl"]) == (port, starttls, tls)


def test_only_variables_that_are_set_reach_the_queue() -> None:
    loaded = settings(EMAIL_RATE_LIMIT="5/s", EMAIL_CONCURRENCY="3", FRONTEND_URL="https://example.com")

    assert loaded["EMAIL_QUEUE"] == {
        "FRONTEND_URL": "https://example.com",
        "RATE_LIMIT": "5/s",
        "CONCURRENCY": 3,
    }
