"""Our queues under names of RQ's that begin with a prefix, beside a project's own queues of the short names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import django_rq
import pytest
from django.core.checks import run_checks
from pytest_django import Settings
from redis import Redis

from emailqueue import cancel_email, get_queue_stats, queue_email, reschedule_email
from emailqueue.checks.queues import workers
from emailqueue.errors import UnknownQueue
from emailqueue.events import publish
from emailqueue.flow import pause, resume
from emailqueue.models import DeadLetter
from emailqueue.redis import rq_queues
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import ClaimRequest, Store
from emailqueue.testing import EmailQueue, MailServer
from emailqueue.worker import EmailWorker
from tests.conftest import Work, eventually

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}
OURS = ("mail-critical", "mail-high", "mail-normal", "mail-low", "mail-events")

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
def prefix(settings: Settings, queue_settings: Callable[..., None]) -> None:
    """Have the project call our queues mail-critical, mail-high and so on, and two of its own high and low."""
    own = {"URL": os.environ["REDIS_URL"]}
    settings.RQ_QUEUES = {**rq_queues(prefix="mail-"), "high": own, "low": own}
    queue_settings(QUEUE_PREFIX="mail-")


def queue(to: str = "ada@example.com", **options: object) -> str:
    return queue_email("vote-confirmation", to, VOTE, **options)  # type: ignore[arg-type] # as given


def test_mails_and_events_go_through_queues_of_these_names(valkey: Redis, mailbox: MailServer, work: Work) -> None:
    own = django_rq.get_queue("low").enqueue(time.time)
    mail, event = queue(), publish("user.registered", {"user_email": "bo@example.com", "user_name": "Bo"})
    waiting = {name: django_rq.get_queue(name).job_ids for name in OURS}
    origins = [valkey.hget(f"rq:job:{job_id}", "origin") for job_id in (mail, event)]

    work(*OURS)

    assert waiting == {**{name: [] for name in OURS}, "mail-normal": [mail], "mail-events": [event]}
    assert origins == [b"mail-normal", b"mail-events"]
    assert sorted(mail.recipient for mail in mailbox.messages) == ["ada@example.com", "bo@example.com"]
    assert (get_queue_stats().queues["normal"].completed, get_queue_stats().queues["low"].completed) == (1, 1)
    assert django_rq.get_queue("low").job_ids == [own.id]
    assert not valkey.exists("rq:queue:normal", "rq:queue:events", "rq:wip:normal")


def test_a_waiting_mail_is_cancelled_and_moved(valkey: Redis) -> None:
    cancelled, moved = queue(), queue()

    assert cancel_email(cancelled)
    assert reschedule_email(moved, datetime.now(UTC) + timedelta(hours=1))

    scheduled = django_rq.get_queue("mail-normal").scheduled_job_registry.get_job_ids()
    assert (scheduled, django_rq.get_queue("mail-normal").job_ids) == ([moved], [])


def test_a_mail_goes_back_into_its_queue_when_its_worker_dies_or_its_domain_is_slow(
    valkey: Redis, mailbox: MailServer, work: Work
) -> None:
    mailbox.rules.append(("*@slow.example", ["421 4.7.0 too fast", "250 ok"]))
    abandoned = queue("ada@slow.example")
    store = Store(valkey)
    [taken] = store.claim(ClaimRequest(worker="dies", lease=0.01)).jobs
    leased = valkey.zcard("rq:wip:mail-normal")
    time.sleep(0.05)

    def sent() -> bool:
        work(*OURS)
        return bool(mailbox.messages)

    eventually(sent, 20, every=0.5)

    assert (taken.id, taken.queue, leased) == (abandoned, "normal", 1)
    assert [mail.recipient for mail in mailbox.messages] == ["ada@slow.example"]
    assert valkey.zcard("rq:wip:mail-normal") == 0


def test_what_a_stock_worker_failed_there_becomes_a_dead_letter(valkey: Redis, work: Work) -> None:
    job_id = queue()
    valkey.lrem("rq:queue:mail-normal", 0, job_id)
    valkey.zadd("rq:failed:mail-normal", {job_id: time.time()})

    work(*OURS)

    assert DeadLetter.objects.get().job_id == job_id


def test_pauses_figures_and_findings_have_the_short_names(valkey: Redis, work: Work) -> None:
    queue()
    pause("normal")
    work(*OURS)
    held = get_queue_stats().queues["normal"].waiting
    resume("normal")
    EmailWorker(list(OURS), connection=valkey).register_birth()  # type: ignore[no-untyped-call]

    snapshot = Snapshot.take(Store(valkey))
    alive = [finding.msg for finding in workers(snapshot)]

    assert held == 1
    assert alive == ["1 workers are alive; by queue: critical 1, high 1, normal 1, low 1, events 1."]


def test_a_worker_takes_the_long_names_alone(valkey: Redis) -> None:
    with pytest.raises(UnknownQueue, match=r"does not work on 'high'\. It takes mail-critical, mail-high, "):
        EmailWorker(["high"], connection=valkey)


def test_a_prefix_that_rq_queues_does_not_have_is_an_error(queue_settings: Callable[..., None]) -> None:
    queue_settings(QUEUE_PREFIX="post-")

    [problem] = [problem for problem in run_checks(tags=["redis"]) if problem.id == "emailqueue.E011"]

    assert problem.msg.startswith("RQ_QUEUES has no 'post-critical', 'post-high', ")


def test_the_testing_kit_follows(email_queue: EmailQueue) -> None:
    queue(delay=5)

    email_queue.assert_queued("vote-confirmation", to="ada@example.com", delay=5)
    email_queue.drain()
