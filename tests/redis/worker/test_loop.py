from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from emailqueue import get_queue_stats
from emailqueue.conf import Settings
from emailqueue.jobs.functions import Run, job_function
from emailqueue.jobs.job import Job
from emailqueue.jobs.outcome import SENT, Outcome
from emailqueue.jobs.priority import QUEUES
from emailqueue.redis import connect
from emailqueue.store import Store
from emailqueue.worker.listener import PATIENCE
from emailqueue.worker.loop import Limits, Stop, WorkerLoop
from tests.conftest import eventually
from tests.support.scripts import new_job


@job_function("tests.nap")
def nap(job: Job, _run: Run) -> Outcome:
    time.sleep(job.arguments()["seconds"])
    return SENT


@pytest.fixture
def loop(valkey: Redis, transactional_db: None) -> Iterator[WorkerLoop]:
    """Run a worker here that has one thread."""

    def nothing(*_arguments: object) -> None: ...

    loop = WorkerLoop(
        connect(timeout=5),
        listening=connect(timeout=PATIENCE + 5),
        settings=Settings(concurrency=1, rate_limit=0),
        name="naps",
        queues=list(QUEUES),
        ttl=60,
        limits=Limits(),
        on_inbox=nothing,
        on_sent=nothing,
        on_figures=nothing,
        on_outage=nothing,
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield loop
    loop.inbox.put(Stop())
    thread.join(20)


@pytest.mark.usefixtures("loop")
def test_what_comes_while_a_worker_has_no_room_is_looked_for_when_it_has(valkey: Redis) -> None:
    store = Store(valkey)
    # Quick ones, so that it claims ahead and finds that there are no more; then slow ones, which leave it no room.
    naps(store, count=50, seconds=0.0)
    sent(50)
    naps(store, count=20, seconds=0.05)
    sent(55)

    naps(store, count=1, seconds=0.0)

    sent(71)


def naps(store: Store, *, count: int, seconds: float) -> None:
    store.enqueue([new_job(function="tests.nap", arguments={"seconds": seconds}) for _ in range(count)])


def sent(count: int) -> None:
    eventually(lambda: get_queue_stats().main.completed >= count, 8)
