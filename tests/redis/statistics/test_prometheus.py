"""What Prometheus scrapes, read back by its own parser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings
from redis import Redis

from emailqueue import flow
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.redis import rq_queues
from emailqueue.statistics import prometheus
from emailqueue.statistics.prometheus import EmailQueueCollector
from emailqueue.store import Store
from tests.conftest import ROOT
from tests.support.scripts import enqueue

TOKEN = "sixteen-or-more-characters"

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(text: str) -> dict[Sample, float]:
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    found = [sample for family in families for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}


def scrape(client: Client, accept: str = "") -> str:
    answer = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture(autouse=True)
def _token(queue_settings: Callable[..., None]) -> None:
    queue_settings(STATS_TOKEN=TOKEN, RATE_LIMIT="10/s")


def named(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


@pytest.mark.django_db(transaction=True)
def test_a_scrape_tells_what_the_queues_hold_and_what_holds_them(client: Client, valkey: Redis) -> None:
    now = timezone.now().timestamp()
    enqueue(Store(valkey), "a", "b", queue="low")
    enqueue(Store(valkey), "c", queue="high", due="+60")
    valkey.hset("rq:job:a", "due_at", now - 30)
    valkey.hset(
        "emailqueue:counters",
        mapping={"low:completed": 7, "completed=offer": 7, "low:queued": 9, "retried=offer": 2, "strange": 1},
    )
    valkey.hset("emailqueue:flow", "outage:mail.example:25", f"{now - 60} {now}")
    valkey.hset(f"emailqueue:minute:{int(now // 60)}", mapping={"sent": 1, "latency:30": 1})
    DeadLetter.objects.create(pk="a", label="offer", dead_lettered_at=timezone.now())
    OutboxRow.objects.create(job_id="d", job={})
    flow.pause("normal")

    told = samples(scrape(client))

    expected: Mapping[Sample, float] = {
        named("emailqueue_up"): 1,
        named("emailqueue_jobs", queue="low", state="waiting"): 2,
        named("emailqueue_jobs", queue="high", state="delayed"): 1,
        named("emailqueue_jobs_ended_total", queue="low", outcome="completed"): 7,
        named("emailqueue_type_ended_total", type="offer", outcome="completed"): 7,
        named("emailqueue_jobs_queued_total", queue="low"): 9,
        named("emailqueue_type_retried_total", type="offer"): 2,
        named("emailqueue_database_up"): 1,
        named("emailqueue_outbox_rows"): 1,
        named("emailqueue_paused", queue="normal"): 1,
        named("emailqueue_paused", queue="low"): 0,
        named("emailqueue_limit_mails_per_second"): 10,
        named("emailqueue_suspended"): 0,
        named("emailqueue_throttled_domains"): 0,
        named("emailqueue_workers", queue="low"): 0,
        named("emailqueue_dead_letters"): 1,
    }
    assert {name: told.get(name) for name in expected} == expected
    assert 30 <= told[named("emailqueue_oldest_seconds", queue="low")] < 90
    assert 60 <= told[named("emailqueue_outage_seconds", server="mail.example:25")] < 120
    assert 0.8 < told[named("emailqueue_latency_p95_seconds")] < 1


@pytest.mark.django_db(transaction=True)
def test_what_django_rq_tells_is_there_too_and_changes_no_job(client: Client, valkey: Redis) -> None:
    enqueue(Store(valkey), "a", queue="low")

    told = samples(scrape(client))

    assert told[named("rq_jobs", queue="low", status="queued")] == 1
    assert valkey.lrange("rq:queue:low", 0, -1) == [b"a"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_who_asks_for_openmetrics_gets_it(client: Client) -> None:
    text = scrape(client, accept="application/openmetrics-text; version=1.0.0")

    families = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    assert "emailqueue_up" in {family.name for family in families}


@pytest.mark.django_db
def test_while_redis_is_away_a_scrape_says_so_and_what_the_outbox_holds(client: Client, settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    told = samples(scrape(client))

    assert told == {
        named("emailqueue_up"): 0,
        named("emailqueue_database_up"): 1,
        named("emailqueue_outbox_rows"): 0,
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_while_the_database_is_away_a_scrape_says_so_and_what_redis_holds(client: Client) -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE emailqueue_outboxrow RENAME TO hidden")
    try:
        told = samples(scrape(client))
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO emailqueue_outboxrow")

    assert (told[named("emailqueue_up")], told[named("emailqueue_database_up")]) == (1, 0)
    assert named("emailqueue_dead_letters") not in told


def test_a_scrape_opens_no_transaction_that_a_database_that_is_away_would_refuse() -> None:
    assert vars(prometheus.metrics)["_non_atomic_requests"] == {"default"}


SCRAPE = """
import django, sys
django.setup()
from django.test import Client
answer = Client().get("/metrics/", headers={"Authorization": f"Bearer {sys.argv[1]}", "Host": "localhost"})
print(answer.status_code, "emailqueue_up 1" in answer.content.decode())
"""


@pytest.mark.usefixtures("valkey")
@pytest.mark.parametrize(("sent", "told"), [(TOKEN, "200 True"), ("another-of-that-length", "401 False")])
def test_the_environment_alone_opens_the_metrics_of_the_example_project(
    tmp_path: Path, *, sent: str, told: str
) -> None:
    environ = {"DJANGO_SETTINGS_MODULE": "config.settings", "EMAIL_STATS_TOKEN": TOKEN}
    environ["DATABASE_URL"] = f"sqlite:///{tmp_path / 'db.sqlite3'}"  # without tables: Redis tells the rest

    ran = subprocess.run(
        [sys.executable, "-c", SCRAPE, sent],
        cwd=ROOT,
        env={**os.environ, **environ, "DEBUG": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout.split("\n")[0] == told


@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_staff_may_look_and_nobody_else_without_the_token(client: Client, django_user_model: type[User]) -> None:
    stranger = client.get("/metrics/")
    wrong = client.get("/metrics/", headers={"Authorization": "Bearer no"})
    client.force_login(django_user_model.objects.create_user("ada", is_staff=True))

    staff = client.get("/metrics/")

    assert (stranger.status_code, wrong.status_code, staff.status_code) == (401, 401, 200)
    assert "no-store" in staff["Cache-Control"]


@pytest.mark.django_db
def test_to_register_the_collector_asks_no_server(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")
    registry = CollectorRegistry()

    registry.register(EmailQueueCollector())

    assert registry.get_sample_value("emailqueue_up") == 0
