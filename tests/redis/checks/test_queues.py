"""What the doctor says of queues and their workers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.checks import ERROR, INFO, WARNING
from django.utils import timezone
from redis import Redis

from emailqueue import flow
from emailqueue.checks import queues
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import Store
from events import queue_vote_confirmation
from tests.support.doctor import a_worker, found, levels
from tests.support.scripts import enqueue

pytestmark = pytest.mark.usefixtures("only_built_in_types")

VOTE = {"model_name": "Aurora", "profile_url": "https://front.example/models/7"}


@pytest.fixture
def look(valkey: Redis) -> Callable[[], Snapshot]:
    return lambda: Snapshot.take(Store(valkey))


def test_a_queue_without_a_worker_is_an_error_once_something_waits(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    a_worker(valkey, queues="critical,high,normal")
    idle = list(queues.workers(look()))
    enqueue(Store(valkey), "a", queue="low")
    enqueue(Store(valkey), "b", queue="events")

    waiting = list(queues.workers(look()))

    assert levels(idle) == [WARNING, INFO]
    assert [finding.msg for finding in waiting[:2]] == [
        "No worker takes the queue 'low', in which 1 jobs wait.",
        "No worker takes the queue 'events', in which 1 jobs wait.",
    ]
    assert levels(waiting) == [ERROR, ERROR, INFO]
    assert waiting[2].msg == "1 workers are alive; by queue: critical 1, high 1, normal 1, low 0, events 0."


def test_a_worker_that_has_told_nothing_for_long_does_not_count(valkey: Redis, look: Callable[[], Snapshot]) -> None:
    a_worker(valkey, heard=200)

    findings = list(queues.workers(look()))

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

    findings = list(queues.workers(look()))

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
    flow.resume("low", "events")
    suspended = list(queues.pauses(look()))

    assert levels(paused) == [ERROR, WARNING]
    assert str(paused[1].hint).endswith("manage.py emailqueue resume low events")
    assert [finding.id for finding in suspended] == ["pauses.suspended"]
    assert levels(away) == [ERROR, WARNING]
    assert "mail.example:25 away, for 10 minutes" in away[0].msg
    assert "slow.example" in away[1].msg
