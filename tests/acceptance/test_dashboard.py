"""What django-rq and RQ show of our queues and do with them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import django_rq
import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from redis import Redis
from rq.worker import Worker

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.errors import UnknownQueue
from emailqueue.jobs.priority import QUEUES
from emailqueue.models import DeadLetter
from emailqueue.testing import MailServer
from emailqueue.worker import EmailWorker
from events import queue_vote_confirmation
from tests.conftest import StartWorker, Work, claim_and_vanish, eventually

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}
LISTS = ("jobs", "queue_details", "finished_jobs", "failed_jobs", "scheduled_jobs", "started_jobs", "deferred_jobs")
# django-rq numbers queues in the order of their names.
LOW, NORMAL = (sorted(QUEUES).index(name) for name in ("low", "normal"))

pytestmark = pytest.mark.usefixtures("valkey", "transactional_db")


def test_the_dashboard_beside_a_running_worker_shows_the_truth_and_changes_nothing(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis, admin_client: Client
) -> None:
    mailbox.rules += [("running@example.com", ["stall 60"]), ("nobody@example.com", ["550 no such mailbox"])]
    process = start_worker("critical", "high", "normal").ready()
    sent = queue_vote_confirmation("ada@example.com", VOTE)
    dead = queue_vote_confirmation("nobody@example.com", VOTE)
    running = queue_vote_confirmation("running@example.com", VOTE)
    waiting = queue_vote_confirmation("waiting@example.com", VOTE, priority="low")
    delayed = queue_vote_confirmation("delayed@example.com", VOTE, delay=3600)
    eventually(lambda: DeadLetter.objects.exists() and get_queue_stats().main.completed == 1)
    eventually(lambda: "running@example.com" in {recipient for _, recipient in mailbox.attempts})
    eventually(lambda: not valkey.exists("emailqueue:wake"))
    (worker,) = Worker.all(valkey)
    before = dump(valkey)

    pages = {name: opened(admin_client, name, NORMAL) for name in LISTS}
    low = opened(admin_client, "jobs", LOW)
    details = {job: opened(admin_client, "job_detail", NORMAL, job) for job in (sent, running, waiting, delayed)}
    workers = opened(admin_client, "workers", NORMAL)
    worker_page = opened(admin_client, "worker_details", NORMAL, worker.key)
    every = [opened(admin_client, name, index) for name in LISTS for index in range(len(QUEUES))]
    home = opened(admin_client, "home")
    queues = statistics(admin_client)
    after = dump(valkey)
    process.kill()

    assert after == before
    assert sent in pages["finished_jobs"]
    assert running in pages["started_jobs"]
    assert delayed in pages["scheduled_jobs"]
    assert waiting in low
    assert dead not in "".join(every)
    assert all(job in page and "vote-confirmation" in page for job, page in details.items())
    assert worker.name in workers
    assert worker.name in worker_page
    assert "normal" in home
    normal = queues["normal"]
    assert (normal["jobs"], normal["started_jobs"], normal["finished_jobs"], normal["scheduled_jobs"]) == (0, 1, 1, 1)
    assert (normal["failed_jobs"], normal["workers"]) == (0, 1)
    assert (queues["low"]["jobs"], queues["low"]["workers"]) == (1, 0)
    assert (worker.successful_job_count, worker.failed_job_count) == (1, 1)


def test_the_dashboard_leaves_jobs_alone_whose_lease_has_run_out(
    mailbox: MailServer, work: Work, valkey: Redis, admin_client: Client
) -> None:
    queue_bulk_emails("vote-confirmation", [f"reader-{number}@example.com" for number in range(4)], VOTE)
    fenced, _claimed = claim_and_vanish(valkey, jobs=2, lease=0.01)
    valkey.hset(f"rq:job:{fenced.id}", "fence", fenced.token)
    queue_vote_confirmation("due@example.com", VOTE, delay=0.01)
    time.sleep(0.05)
    before = dump(valkey)

    for index in range(len(QUEUES)):
        for name in (*LISTS, "workers"):
            opened(admin_client, name, index)
    opened(admin_client, "home")
    queues = statistics(admin_client)

    assert dump(valkey) == before
    assert [queues["normal"][name] for name in ("jobs", "started_jobs", "scheduled_jobs")] == [2, 2, 1]
    work()
    assert Counter(mail.recipient for mail in mailbox.messages) == Counter(
        [*(f"reader-{number}@example.com" for number in range(4)), "due@example.com"]
    )
    assert get_queue_stats().main.ambiguous == 1


def test_a_job_that_is_requeued_from_the_dashboard_while_it_runs_is_sent_once(
    mailbox: MailServer, start_worker: StartWorker, admin_client: Client
) -> None:
    mailbox.replies = ["stall 2"]
    start_worker().ready()
    running = queue_vote_confirmation("ada@example.com", VOTE)
    eventually(lambda: mailbox.attempts)

    admin_client.post(reverse("admin:django_rq_enqueue_job", args=[NORMAL, running]))

    mailbox.wait_for(1)
    queue_vote_confirmation("bo@example.com", VOTE)
    eventually(lambda: get_queue_stats().main.completed == 2)
    assert sorted(mail.recipient for mail in mailbox.messages) == ["ada@example.com", "bo@example.com"]


def test_rqstats_counts_our_jobs(work: Work, mailbox: MailServer, capsys: pytest.CaptureFixture[str]) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    work()
    queue_vote_confirmation("bo@example.com", VOTE)
    capsys.readouterr()

    call_command("rqstats", "--json")

    queues = {queue["name"]: queue for queue in json.loads(capsys.readouterr().out)["queues"]}
    assert set(queues) == set(QUEUES)
    assert (queues["normal"]["jobs"], queues["normal"]["finished_jobs"], queues["normal"]["failed_jobs"]) == (1, 1, 0)


def test_a_pool_of_two_workers_ends_on_sigterm_and_loses_nothing(
    mailbox: MailServer, start_worker: StartWorker, work: Work
) -> None:
    readers = [f"reader-{number}@example.com" for number in range(200)]
    mailbox.delay = 0.05
    queue_bulk_emails("vote-confirmation", readers, VOTE)
    pool = start_worker(command="rqworker-pool --num-workers 2").ready(workers=2)
    mailbox.wait_for(20, timeout=20)

    code = pool.stop()

    stats = get_queue_stats().main
    assert code == 0
    assert pool.log.read_text().count("worker stopped") == 2
    assert (stats.active, stats.waiting + stats.completed) == (0, len(readers))
    assert stats.waiting > 0
    mailbox.delay = 0
    work()
    assert Counter(mail.recipient for mail in mailbox.messages) == Counter(readers)


def test_a_planted_job_is_a_dead_letter_and_is_not_run(work: Work, tmp_path: Path) -> None:
    planted = django_rq.get_queue("low").enqueue("os.mkdir", path=str(tmp_path / "planted"))

    work()

    letter = DeadLetter.objects.get()
    assert (letter.job_id, letter.reason, letter.queue) == (planted.id, "malformed", "low")
    assert "'os.mkdir'" in letter.message
    assert not (tmp_path / "planted").exists()


def test_a_queue_that_is_not_ours_is_refused_with_a_sentence(valkey: Redis) -> None:
    with pytest.raises(UnknownQueue, match=r"EmailWorker does not work on 'reports'\. It takes critical, .*rq\.Worker"):
        EmailWorker(["normal", "reports"], connection=valkey)


def opened(client: Client, name: str, *arguments: object) -> str:
    response = client.get(reverse(f"admin:django_rq_{name}", args=arguments))
    assert response.status_code == 200
    return response.content.decode()


def statistics(client: Client) -> dict[str, Mapping[str, int]]:
    return {queue["name"]: queue for queue in json.loads(opened(client, "home_json"))["queues"]}


def dump(valkey: Redis) -> dict[bytes, object]:
    """Return all that stands in Redis but what a worker writes by itself: renewals, heartbeats, its start-up check."""
    own = (b"rq:worker:", b"emailqueue:check")
    everything: dict[bytes, object] = {
        key: valkey.dump(key) for key in valkey.scan_iter(count=1000) if not key.startswith(own)
    }
    leases = b"emailqueue:leases"
    return everything | {leases: valkey.zrange(leases, 0, -1)}
