from __future__ import annotations

import socket
import time

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.utils import ConnectionHandler

from config.environment import choice, database, number, switch, text, texts


def test_an_empty_variable_counts_as_unset() -> None:
    environ = {"EMAIL_HOST": " ", "EMAIL_PORT": "", "DEBUG": ""}

    values = (
        text("EMAIL_HOST", "localhost", environ=environ),
        number("EMAIL_PORT", 25, most=65535, environ=environ),
        switch("DEBUG", default=True, environ=environ),
    )

    assert values == ("localhost", 25, True)


def test_words_are_parted_by_commas_and_trimmed() -> None:
    assert texts("ALLOWED_HOSTS", environ={"ALLOWED_HOSTS": "a.example, b.example,,"}) == [
        "a.example",
        "b.example",
    ]


@pytest.mark.parametrize(("word", "value"), [("1", True), ("True", True), ("on", True), ("0", False), ("NO", False)])
def test_a_switch_reads_what_people_write(word: str, value: bool) -> None:
    assert switch("DEBUG", default=not value, environ={"DEBUG": word}) is value


def test_a_switch_that_is_neither_names_variable_and_value() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"DEBUG is 'maybe'\. Use 1 or 0\."):
        switch("DEBUG", default=False, environ={"DEBUG": "maybe"})


def test_a_choice_is_one_of_its_words_and_by_default_the_first() -> None:
    assert choice("LOG_FORMAT", "text", "json", environ={}) == "text"
    assert choice("LOG_FORMAT", "text", "json", environ={"LOG_FORMAT": " json"}) == "json"
    with pytest.raises(ImproperlyConfigured, match=r"LOG_FORMAT is 'xml'\. Use text or json\."):
        choice("LOG_FORMAT", "text", "json", environ={"LOG_FORMAT": "xml"})


@pytest.mark.parametrize("digits", ["abc", "0", "65536", "-1", "2.5", "²"])
def test_a_number_out_of_range_names_variable_value_and_range(digits: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"EMAIL_PORT is '{digits}'\. Use a whole number from 1 to 65535"):
        number("EMAIL_PORT", 25, most=65535, environ={"EMAIL_PORT": digits})


def test_sqlite_is_made_fit_for_several_processes() -> None:
    config = database("DATABASE_URL", "sqlite:////srv/db.sqlite3", environ={})

    assert config["NAME"] == "/srv/db.sqlite3"
    assert config["OPTIONS"] == {
        "init_command": "PRAGMA journal_mode = WAL",
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
    }


def test_postgresql_is_read_from_its_url() -> None:
    environ = {"DATABASE_URL": "postgres://ada:p%40ss@db.example:5433/mail"}

    config = database("DATABASE_URL", "sqlite:///unused", environ=environ)

    assert config["ENGINE"] == "django.db.backends.postgresql"
    assert (config["USER"], config["PASSWORD"], config["HOST"], config["PORT"], config["NAME"]) == (
        "ada",
        "p@ss",
        "db.example",
        5433,
        "mail",
    )


def test_a_database_that_accepts_and_never_answers_is_given_up_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://ada:hush@127.0.0.1:{silent.getsockname()[1]}/mail"
        connection = ConnectionHandler({"default": database("DATABASE_URL", url, environ={})})["default"]
        began = time.monotonic()

        with pytest.raises(OperationalError), connection.wrap_database_errors:
            connection.connect()

    assert time.monotonic() - began < 30  # 130 s without a time-out of ours


def test_who_writes_time_outs_into_the_database_url_is_obeyed() -> None:
    options = database("DATABASE_URL", "postgres://db.example/mail?connect_timeout=9", environ={})["OPTIONS"]

    assert (options["connect_timeout"], options["tcp_user_timeout"]) == (9, 10_000)


@pytest.mark.parametrize("url", ["postgres://ada:hush@db.example:port/mail", "mongo://ada:hush@db.example/mail"])
def test_a_wrong_database_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL cannot be read") as refusal:
        database("DATABASE_URL", "sqlite:///unused", environ={"DATABASE_URL": url})

    assert "hush" not in str(refusal.value)
