"""What the doctor finds, on a real Valkey, a real mail server and a real database."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from django.core.checks import ERROR
from django.db import connection as database
from pytest_django import Settings
from redis import Redis

from emailqueue import flow
from emailqueue.checks import mail_server
from emailqueue.redis import rq_queues
from emailqueue.testing.mailserver import MailServer
from tests.support.doctor import OFF, a_worker, doctor, found

pytestmark = [pytest.mark.usefixtures("only_built_in_types"), pytest.mark.postgresql]


@pytest.mark.django_db(transaction=True)
def test_the_json_has_the_form_that_programs_rely_on(valkey: Redis, mailbox: MailServer) -> None:
    a_worker(valkey)

    told = json.loads(doctor("--json")[1])

    assert (told.keys(), told["version"]) == ({"version", "status", "findings"}, 2)
    assert {frozenset(finding) for finding in told["findings"]} == {frozenset(("id", "part", "level", "text", "hint"))}
    assert {finding["id"] for finding in told["findings"]} >= {"workers.alive", "mail-server.answers", "outbox.in-time"}


@pytest.mark.django_db(transaction=True)
def test_a_healthy_queue_has_nothing_but_good_findings(valkey: Redis, mailbox: MailServer, settings: Settings) -> None:
    a_worker(valkey)
    settings.DEBUG = False

    status, printed = doctor()

    assert (status, printed.splitlines()[-1]) == (0, "Errors: 0, warnings: 0.")
    parts = ["redis", "mail server", "templates", "frontend url", "time-outs", "workers", "scheduled", "critical"]
    parts += ["dead letters", "pauses", "outage", "outbox", "database"]
    assert [part for part in parts if f"ok       {part}: " not in printed] == []


@pytest.mark.django_db(transaction=True)
def test_only_an_error_makes_the_exit_status_bad(valkey: Redis, mailbox: MailServer) -> None:
    a_worker(valkey)
    flow.pause("low")

    warned = doctor("--json")
    mailbox.stop()
    broken = doctor("--json")

    assert (warned[0], json.loads(warned[1])["status"]) == (0, "warning")
    assert (broken[0], json.loads(broken[1])["status"]) == (1, "error")


@pytest.mark.django_db(transaction=True)
def test_a_test_mail_arrives(valkey: Redis, mailbox: MailServer) -> None:
    a_worker(valkey)

    status, printed = doctor("--mail", "ada@example.com")

    assert (status, [mail.recipient for mail in mailbox.messages]) == (0, ["ada@example.com"])
    assert "test mail: The mail server has accepted the test mail." in printed
    assert valkey.llen("rq:queue:normal") == 0


@pytest.mark.django_db(transaction=True)
def test_without_an_address_no_mail_is_sent(valkey: Redis, mailbox: MailServer) -> None:
    doctor()

    assert (mailbox.connections, mailbox.attempts) == (1, [])


@pytest.mark.parametrize(
    ("address", "reply", "text", "hint"),
    [
        ("ada@example.com", "550 5.1.1 <ada@example.com> is unknown", "550 5.1.1 <the address> is unknown", "address"),
        ("ada", "250 ok", "'ada'", "one plain address"),
    ],
)
@pytest.mark.usefixtures("valkey")
def test_a_test_mail_that_is_refused_is_told_with_a_hint(
    mailbox: MailServer, address: str, reply: str, text: str, hint: str
) -> None:
    mailbox.replies = [reply]

    finding = mail_server.test_mail(OFF, address)

    assert finding.level is ERROR
    assert text in finding.msg
    assert hint in str(finding.hint)


@pytest.mark.django_db(transaction=True)
def test_while_redis_is_away_the_rest_is_examined(mailbox: MailServer, settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://:secret@127.0.0.1:1")

    status, printed = doctor()

    assert status == 1
    assert "ERROR    redis: Nothing to connect to at redis://127.0.0.1:1/0: " in printed
    assert "ERROR    queues: The queues cannot be examined" in printed
    assert "ok       dead letters: " in printed
    assert "secret" not in printed


@pytest.mark.django_db(transaction=True)
def test_a_part_that_cannot_be_examined_hides_no_other(
    valkey: Redis, mailbox: MailServer, queue_settings: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    valkey.hset("emailqueue:flow", "outage:mail.example:25", "no time")

    with caplog.at_level(logging.CRITICAL):
        parts = found()

    assert parts["outage"][0]["text"] == "This part cannot be examined: ValueError."
    assert [finding["level"] for finding in parts["scheduled"]] == ["ok"]


@pytest.mark.django_db(transaction=True)
def test_what_the_system_checks_say_is_found_too(
    valkey: Redis, mailbox: MailServer, queue_settings: Callable[..., None]
) -> None:
    queue_settings(ALERTS="shop.alerts.gone")

    assert "EMAIL_QUEUE['ALERTS'] leads nowhere" in found()["settings"][0]["text"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey", "mailbox")
def test_a_table_that_is_missing_is_an_error_that_names_what_to_run() -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE emailqueue_outboxrow RENAME TO hidden")
    try:
        [finding] = found()["outbox"]
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO emailqueue_outboxrow")

    assert (finding["id"], finding["level"]) == ("outbox.unexamined", "error")
    assert "manage.py migrate" in finding["hint"]
