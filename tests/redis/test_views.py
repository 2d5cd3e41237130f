"""What probes are told of the web."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from pytest_django import Settings
from redis import Redis

from emailqueue.enqueue.submit import absence
from emailqueue.redis import rq_queues


@pytest.fixture(autouse=True)
def _present() -> Iterator[None]:
    absence.until = 0.0
    yield
    absence.until = 0.0


def ask(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/health/")
    return answer.status_code, answer.json()


@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_the_web_is_ready_with_database_and_redis(client: Client) -> None:
    answer = client.get("/health/")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": "ok", "redis": "ok", "mail": "queued"}
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("outbox", "status", "mail"),
    [("failover", 200, "kept in the outbox"), ("always", 200, "kept in the outbox"), ("off", 503, "refused")],
)
def test_without_redis_the_web_is_ready_when_the_outbox_takes_mail(
    client: Client, settings: Settings, queue_settings: Callable[..., None], *, outbox: str, status: int, mail: str
) -> None:
    settings.RQ_QUEUES = rq_queues("redis://:secret@127.0.0.1:1")
    queue_settings(OUTBOX=outbox)

    answer = ask(client)

    assert (answer[0], answer[1]["redis"], answer[1]["mail"]) == (status, "away", mail)
    assert "secret" not in str(answer)


@pytest.mark.django_db
def test_redis_is_not_asked_again_while_requests_avoid_it(client: Client, valkey: Redis) -> None:
    absence.begin()

    asked_before = valkey.info("commandstats").get("cmdstat_eval", {}).get("calls", 0)
    answer = ask(client)

    assert answer[1]["redis"] == "away"
    assert valkey.info("commandstats").get("cmdstat_eval", {}).get("calls", 0) == asked_before


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_cannot_be_written_to_takes_no_mail(client: Client, valkey: Redis) -> None:
    valkey.config_set("maxmemory", 1)
    try:
        answer = ask(client)
    finally:
        valkey.config_set("maxmemory", 0)

    assert (answer[0], answer[1]["redis"]) == (200, "away")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_without_its_tables_the_web_is_not_ready(client: Client) -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE emailqueue_outboxrow RENAME TO hidden")
    try:
        answer = ask(client)
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO emailqueue_outboxrow")

    assert answer == (503, {"status": "not ready", "database": "away", "redis": "ok", "mail": "refused"})


def test_the_web_is_alive_whatever_servers_are_away(client: Client, settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    answer = client.get("/alive/")  # without the mark for tests that may touch the database

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert client.post("/alive/").status_code == client.post("/health/").status_code == 405
