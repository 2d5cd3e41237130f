"""What the doctor finds, on a real Valkey, a real mail server and a real database."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.checks import ERROR, INFO, WARNING, CheckMessage
from django.core.management import call_command
from django.db import connection as database
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

import events.emails
from emailqueue import EmailType, flow
from emailqueue.checks import links, mail_server, queues, templates, time_outs
from emailqueue.checks.redis import redis as examine_redis
from emailqueue.conf import Settings as QueueSettings
from emailqueue.delivery.mailers import new_backend
from emailqueue.email_types import _registry, email_types
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.job import timestamp
from emailqueue.management.verbs.doctor import worst
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.redis import rq_queues
from emailqueue.redis.report import RedisReport
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import Store
from emailqueue.testing.mailserver import MailServer
from events import queue_vote_confirmation
from tests.conftest import ROOT
from tests.redis.store.test_claim import enqueue
from tests.settings import mail_port

VOTE = {"model_name": "Aurora", "profile_url": "https://front.example/models/7"}
OFF = QueueSettings(frontend_url="https://front.example")


@pytest.fixture(autouse=True)
def _only_built_in_types() -> Iterator[None]:
    """Take out what examples of the docs have registered in this process, without samples."""
    before = dict(_registry)
    built_in = [kind.name for kind in vars(events.emails).values() if isinstance(kind, EmailType)]
    for name in before.keys() - set(built_in):
        del _registry[name]
    yield
    _registry.update(before)


def doctor(*words: str) -> tuple[int, str]:
    """Run the command and return its exit status and what it printed."""
    out = StringIO()
    try:
        call_command("emailqueue", "doctor", *words, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def found() -> dict[str, list[Mapping[str, Any]]]:
    """Return the findings of `doctor --json` by the part that they are about."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for finding in json.loads(doctor("--json")[1])["findings"]:
        parts.setdefault(finding["part"], []).append(finding)
    return parts


def levels(findings: Iterable[CheckMessage]) -> list[int]:
    return [finding.level for finding in findings]


def a_worker(valkey: Redis, *, heard: float = 1, queues: str = "critical,high,normal,low,events") -> None:
    """Write what RQ keeps of a worker."""
    moment = timestamp(datetime.now(UTC) - timedelta(seconds=heard))
    valkey.sadd("rq:workers", "rq:worker:ada")
    valkey.hset("rq:worker:ada", mapping={"queues": queues, "last_heartbeat": moment, "state": "idle"})


# All of it


IDS = re.compile(r'\bid="([a-z-]+\.[a-z-]+)"')


def test_the_page_lists_each_id_and_no_other() -> None:
    sources = [file.read_text() for file in (ROOT / "emailqueue" / "checks").glob("*.py")]
    ids = {identity for source in sources for identity in IDS.findall(source)}

    page = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z -]+) \| ((?:`[a-z-]+\.[a-z-]+`(?:, )?)+) \|$", page)

    assert {identity for _part, row in rows for identity in re.findall(r"`([a-z.-]+)`", row)} == ids
    assert all(
        identity.startswith(f"{part.replace(' ', '-')}.")
        for part, row in rows
        for identity in row.strip("`").split("`, `")
    )


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


def test_the_worst_finding_counts() -> None:
    good, odd, bad = (CheckMessage(level, "", id="redis.answers") for level in (INFO, WARNING, ERROR))

    assert [worst(each) for each in ([], [good], [good, odd], [bad, odd])] == ["ok", "ok", "warning", "error"]


# Settings


@pytest.mark.parametrize(
    ("url", "debug", "level"),
    [
        ("https://front.example", False, INFO),
        ("http://front.example", False, WARNING),
        ("http://localhost:3000", False, ERROR),
        ("https://127.0.0.1", False, ERROR),
        ("https://[::1]:3000", False, ERROR),
        ("https://10.0.0.7", False, ERROR),
        ("https://web", False, ERROR),
        ("http://localhost:3000", True, INFO),
    ],
)
def test_links_must_lead_somewhere_in_production(url: str, *, debug: bool, level: int) -> None:
    findings = links.frontend_url(QueueSettings(frontend_url=url), debug=debug)

    assert levels(findings) == [level]


@pytest.mark.parametrize(
    ("contradiction", "hint"),
    [
        ({"lease": 6.0}, "LEASE"),
        ({"send_timeout": 200.0}, "SEND_TIMEOUT"),
        ({"stats_interval": 300.0}, "STATS_INTERVAL"),
        ({"max_age": 60.0, "attempts": 6, "backoff": Backoff(delay=10, jitter=0.5)}, "MAX_AGE"),
    ],
)
def test_time_outs_that_contradict_one_another_are_told(contradiction: dict[str, Any], hint: str) -> None:
    findings = list(time_outs.time_outs(QueueSettings(**contradiction), mail_timeout=None))

    assert levels(findings) == [WARNING]
    assert f"EMAIL_QUEUE['{hint}']" in str(findings[0].hint)


def test_the_time_out_of_the_backend_counts_before_ours() -> None:
    findings = time_outs.time_outs(QueueSettings(), mail_timeout=200.0)

    assert levels(findings) == [WARNING]


@pytest.mark.django_db(transaction=True)
def test_what_the_system_checks_say_is_found_too(
    valkey: Redis, mailbox: MailServer, queue_settings: Callable[..., None]
) -> None:
    queue_settings(ALERTS="shop.alerts.gone")

    assert "EMAIL_QUEUE['ALERTS'] leads nowhere" in found()["settings"][0]["text"]


# Redis


@pytest.mark.parametrize(
    ("facts", "outbox", "expected"),
    [
        ({"persistence": "append-only file on", "latency": 0.3}, "failover", [INFO]),
        ({"persistence": "snapshots only", "latency": 0.3}, "failover", [INFO, WARNING]),
        ({"persistence": "snapshots only", "latency": 0.3}, "always", [INFO]),
        ({"persistence": "append-only file on", "latency": 80.0}, "failover", [INFO, WARNING]),
    ],
)
def test_a_redis_that_forgets_or_is_far_is_warned_of(facts: dict[str, Any], outbox: Any, expected: list[int]) -> None:
    report = RedisReport(variable="REDIS_URL", address="redis://h", **facts)

    findings = examine_redis(report, QueueSettings(outbox=outbox))

    assert levels(findings) == expected


# The mail server


@pytest.mark.usefixtures("valkey")
def test_a_mail_server_that_is_not_there_is_an_error(mailbox: MailServer) -> None:
    mailbox.stop()

    [finding] = mail_server.mail_server(OFF, debug=False)

    assert finding.level is ERROR
    assert finding.msg.startswith(f"127.0.0.1:{mail_port} does not accept our connection: ConnectionRefusedError")
    assert finding.hint


@pytest.mark.usefixtures("valkey")
def test_a_login_that_is_refused_is_an_error_without_the_password(mailbox: MailServer, settings: Settings) -> None:
    mailbox.script("auth", ["535 5.7.8 bad credentials"])
    _with_login(settings)

    findings = list(mail_server.mail_server(OFF, debug=False))

    assert levels(findings) == [ERROR]
    assert "535" in findings[0].msg
    assert "s3cret" not in str(findings)


@pytest.mark.usefixtures("valkey")
def test_a_login_without_tls_is_warned_of(mailbox: MailServer, settings: Settings) -> None:
    _with_login(settings)

    findings = list(mail_server.mail_server(OFF, debug=False))

    assert levels(findings) == [INFO, WARNING]
    assert "logged in as 'ada'" in findings[0].msg


@pytest.mark.usefixtures("valkey", "mailbox")
def test_a_server_without_the_tls_that_is_wanted_is_an_error(settings: Settings) -> None:
    if hasattr(settings, "MAILERS"):
        options = {**settings.MAILERS["default"]["OPTIONS"], "use_tls": True}
        settings.MAILERS = {"default": {**settings.MAILERS["default"], "OPTIONS": options}}
    else:
        settings.EMAIL_USE_TLS = True

    [finding] = mail_server.mail_server(OFF, debug=False)

    named = "'use_tls' in the OPTIONS of MAILERS" if hasattr(settings, "MAILERS") else "EMAIL_USE_TLS"
    assert (finding.level, named in str(finding.hint)) == (ERROR, True)


@pytest.mark.parametrize(("debug", "level"), [(True, WARNING), (False, ERROR)])
@pytest.mark.parametrize("name", ["console", "locmem"])
def test_a_backend_that_delivers_to_nobody_is_no_mail_server(
    settings: Settings, name: str, *, debug: bool, level: int
) -> None:
    _with_backend(settings, f"django.core.mail.backends.{name}.EmailBackend")

    assert levels(mail_server.mail_server(OFF, debug=debug)) == [level]


def test_a_backend_of_an_api_is_named(settings: Settings) -> None:
    _with_backend(settings, "anymail.backends.test.EmailBackend")

    [finding] = mail_server.mail_server(OFF, debug=False)

    assert finding.level is INFO
    assert finding.msg.startswith("Mails go to anymail.backends.test.EmailBackend, which is no SMTP")


def test_a_backend_that_cannot_be_made_is_an_error(settings: Settings) -> None:
    _with_backend(settings, "shop.mail.Gone")

    assert levels(mail_server.mail_server(OFF, debug=False)) == [ERROR]
    assert mail_server.mail_timeout(OFF) is None


def test_no_test_mail_is_tried_where_the_connection_was_refused(mailbox: MailServer) -> None:
    mailbox.stop()

    findings = list(mail_server.mail(OFF, debug=True, to="ada@example.com"))

    assert [finding.id for finding in findings] == ["mail-server.refused", "test-mail.not-sent"]


def test_a_test_mail_waits_no_longer_for_an_answer_than_the_doctor_does(mailbox: MailServer) -> None:
    usual, impatient = new_backend(OFF), mail_server.impatient_backend(OFF)

    assert (usual.timeout, impatient.timeout) == (60, mail_server.PATIENCE)  # type: ignore[attr-defined]  # of SMTP


@pytest.mark.usefixtures("mailbox")
def test_the_doctor_changes_no_time_out_of_the_workers() -> None:
    list(mail_server.mail_server(OFF, debug=False))

    assert mail_server.mail_timeout(OFF) == getattr(new_backend(OFF), "timeout", None) == 60


# Templates


def test_every_built_in_type_renders_with_its_sample() -> None:
    [finding] = templates.templates(email_types(), OFF)

    assert finding.level is INFO
    assert finding.msg.startswith(f"{len(email_types())} of {len(email_types())} e-mail types render")


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, WARNING, "no sample context"),
        ({"template": "gone.html"}, ERROR, "TemplateDoesNotExist"),
        ({"sample": {"model_name": "Aurora"}}, ERROR, "MissingContext"),
        ({"sample": {"model_name": "Aurora", "model_id": 7}, "template": "admin/base.html"}, ERROR, "render"),
    ],
)
def test_a_type_that_does_not_render_is_told(changes: dict[str, Any], level: int, text: str) -> None:
    vote = email_types()["vote-confirmation"]
    parts = {"template": vote.template, "needed": vote.needed, "optional": vote.optional, "defaults": vote.defaults}
    odd = EmailType(name="odd", **{**parts, **changes})

    [finding] = templates.templates({"odd": odd}, OFF)

    assert (finding.level, finding.msg.startswith("'odd' ")) == (level, True)
    assert text in finding.msg


# Queues


@pytest.fixture
def look(valkey: Redis) -> Callable[[], Snapshot]:
    return lambda: Snapshot.take(Store(valkey))


def test_a_queue_without_a_worker_is_an_error_once_something_waits(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    a_worker(valkey, queues="critical,high,normal")
    idle = list(queues.workers(look(), OFF))
    enqueue(Store(valkey), "a", queue="low")
    enqueue(Store(valkey), "b", queue="events")

    waiting = list(queues.workers(look(), OFF))

    assert levels(idle) == [WARNING, INFO]
    assert [finding.msg for finding in waiting[:2]] == [
        "No worker takes the queue 'low', in which 1 jobs wait.",
        "No worker takes the queue 'events', in which 1 jobs wait.",
    ]
    assert levels(waiting) == [ERROR, ERROR, INFO]
    assert waiting[2].msg == "1 workers are alive; by queue: critical 1, high 1, normal 1, low 0, events 0."


def test_a_worker_that_has_told_nothing_for_long_does_not_count(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    a_worker(valkey, heard=200)

    findings = list(queues.workers(look(), OFF))

    assert [(finding.id, finding.level) for finding in findings] == [
        ("workers.none", ERROR),
        ("workers.silent", WARNING),
    ]
    assert findings[0].msg == "No worker takes mail."
    assert "1 workers have not reported" in findings[-1].msg


def test_mail_that_nobody_takes_is_one_error_whatever_the_queues(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    enqueue(Store(valkey), "a", queue="low")
    enqueue(Store(valkey), "b", queue="high")
    a_worker(valkey, queues="events")

    findings = list(queues.workers(look(), OFF))

    assert [finding.id for finding in findings] == ["workers.none", "workers.alive"]
    assert findings[0].msg == "No worker takes mail, of which 2 jobs wait."


@pytest.mark.django_db(transaction=True)
def test_a_critical_mail_of_a_paused_queue_waits_rightly(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    enqueue(Store(valkey), "a", queue="critical")
    valkey.hset("rq:job:a", "due_at", timezone.now().timestamp() - 1000)
    flow.pause("critical")

    assert levels(queues.critical(look())) == [INFO]


@pytest.mark.django_db(transaction=True)
def test_scheduled_mails_that_are_late_are_an_error_unless_they_are_paused(valkey: Redis) -> None:
    job_id = queue_vote_confirmation("ada@example.com", VOTE, delay=3600)
    in_time = found()["scheduled"]
    valkey.zadd("rq:scheduled:normal", {job_id: timezone.now().timestamp() - 90})
    late = found()["scheduled"]
    flow.pause("normal")

    paused = found()["scheduled"]

    assert [each[0]["level"] for each in (in_time, late, paused)] == ["ok", "error", "ok"]
    assert late[0]["text"] == "1 scheduled jobs are more than 60 s late, in normal."


@pytest.mark.parametrize(("waits", "level"), [(5, INFO), (100, WARNING), (1000, ERROR)])
def test_a_critical_mail_must_not_wait(valkey: Redis, look: Callable[[], Snapshot], waits: float, level: int) -> None:
    enqueue(Store(valkey), "a", queue="critical")
    valkey.hset("rq:job:a", "due_at", timezone.now().timestamp() - waits)

    assert levels(queues.critical(look())) == [level]


def test_a_mail_that_was_scheduled_waits_only_since_it_is_due(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    enqueue(Store(valkey), "a", queue="critical")
    valkey.hset("rq:job:a", mapping={"created_at": "2020-01-01T00:00:00.0Z", "due_at": timezone.now().timestamp()})

    assert levels(queues.critical(look())) == [INFO]


def test_pauses_suspension_outages_and_slow_domains_are_told(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    now = timezone.now().timestamp()
    flow.pause("low", "events")
    valkey.set("rq:suspended", 1)
    valkey.hset("emailqueue:flow", "outage:mail.example:25", f"{now - 600} {now + 5}")
    valkey.zadd("emailqueue:throttled", {"slow.example": now + 60})

    paused, away = list(queues.pauses(look())), list(queues.outage(look()))

    assert levels(paused) == [ERROR, WARNING]
    assert str(paused[1].hint).endswith("manage.py emailqueue resume low events")
    assert levels(away) == [ERROR, WARNING]
    assert "mail.example:25 away, for 10 minutes" in away[0].msg
    assert "slow.example" in away[1].msg


# Tables


@pytest.mark.django_db(transaction=True)
def test_open_dead_letters_are_a_warning(valkey: Redis) -> None:
    DeadLetter.objects.create(pk="a", label="offer", died_at=timezone.now())
    valkey.hset("emailqueue:dead", "b", "{}")

    findings = found()["dead letters"]

    assert [finding["level"] for finding in findings] == ["warning", "warning"]
    assert [finding["text"].split()[0] for finding in findings] == ["1", "1"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("minutes", "outbox", "level"),
    [(0, "failover", "ok"), (3, "failover", "warning"), (30, "failover", "error"), (30, "always", "ok")],
)
def test_rows_that_stay_in_the_outbox_are_told(
    valkey: Redis, queue_settings: Callable[..., None], minutes: int, outbox: str, level: str
) -> None:
    queue_settings(OUTBOX=outbox)
    OutboxRow.objects.create(job_id="a", job={})
    OutboxRow.objects.update(created_at=timezone.now() - timedelta(minutes=minutes))

    assert [finding["level"] for finding in found()["outbox"]] == [level]


@pytest.mark.django_db(transaction=True)
def test_migrations_that_are_not_applied_are_an_error(valkey: Redis) -> None:
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'emailqueue' AND name = '0001_initial'")
    try:
        findings = found()["database"]
    finally:
        with database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES ('emailqueue', '0001_initial', %s)",
                [timezone.now()],
            )

    assert findings[0]["level"] == "error"
    assert "emailqueue.0001_initial" in findings[0]["text"]


def _with_login(settings: Settings) -> None:
    if hasattr(settings, "MAILERS"):
        options = {**settings.MAILERS["default"]["OPTIONS"], "username": "ada", "password": "s3cret"}
        settings.MAILERS = {"default": {**settings.MAILERS["default"], "OPTIONS": options}}
    else:
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "ada", "s3cret"


def _with_backend(settings: Settings, path: str) -> None:
    if hasattr(settings, "MAILERS"):
        settings.MAILERS = {"default": {"BACKEND": path}}
    else:
        settings.EMAIL_BACKEND = path
