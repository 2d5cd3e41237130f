"""How a variable of the environment becomes a value, or a sentence that says what to write instead."""

import os
from collections.abc import Mapping
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

ON = ("1", "true", "yes", "on")
OFF = ("0", "false", "no", "off")
PATIENCE = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How long PostgreSQL may take to accept a connection, and be silent on one, in seconds; the last in milliseconds."""


def text(variable: str, default: str = "", *, environ: Mapping[str, str] = os.environ) -> str:
    """Read a text; empty is unset, as compose files and CI systems pass variables on as `VARIABLE=`."""
    return environ.get(variable, "").strip() or default


def texts(variable: str, *, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Read texts with commas between them."""
    return [part.strip() for part in text(variable, environ=environ).split(",") if part.strip()]


def switch(variable: str, *, default: bool, environ: Mapping[str, str] = os.environ) -> bool:
    """Read 1 or 0, or one of the words that people write for them."""
    word = text(variable, "1" if default else "0", environ=environ)
    if word.lower() not in ON + OFF:
        raise ImproperlyConfigured(f"{variable} is {word!r}. Use 1 or 0.")
    return word.lower() in ON


def choice(variable: str, *known: str, environ: Mapping[str, str] = os.environ) -> str:
    """Read one of `known`, of which the first is the default."""
    word = text(variable, known[0], environ=environ)
    if word not in known:
        raise ImproperlyConfigured(f"{variable} is {word!r}. Use {' or '.join(known)}.")
    return word


def number(variable: str, default: int, *, most: int, environ: Mapping[str, str] = os.environ) -> int:
    """Read a whole number from 1 to `most`."""
    digits = text(variable, str(default), environ=environ)
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= most):
        raise ImproperlyConfigured(f"{variable} is {digits!r}. Use a whole number from 1 to {most}.")
    return int(digits)


def database(variable: str, default: str, *, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Read a database URL into what stands in DATABASES."""
    url = text(variable, default, environ=environ)
    try:
        config: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)}
    except ValueError as error:
        # The value stays out of the sentence, since it holds a password.
        raise ImproperlyConfigured(
            f"{variable} cannot be read: {error} Use postgres://USER:PASSWORD@HOST:5432/NAME."
        ) from None
    if config["ENGINE"] == "django.db.backends.sqlite3":
        # Several processes write. Readers go on beside a writer; writers wait for one another; a transaction
        # takes the write lock when it begins, since one that asks for it later fails without waiting.
        config["OPTIONS"] = {
            "init_command": "PRAGMA journal_mode = WAL",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            **config.get("OPTIONS", {}),
        }
    elif config["ENGINE"] == "django.db.backends.postgresql":
        # A server that hangs would hold each thread of the web for minutes, and so the answers to probes.
        config["OPTIONS"] = {**PATIENCE, **config.get("OPTIONS", {})}
    return config
