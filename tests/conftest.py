"""The real parts that tests stand on: Valkey, a mail server, workers in this process or in their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest
from django.db import connection as database
from pytest_django import Settings
from redis import Redis

import config.settings as config_settings
import events.emails
from emailqueue import EmailType, email_types, register
from emailqueue.conf import get_settings
from emailqueue.enqueue.submit import absence
from emailqueue.jobs.job import Job
from emailqueue.jobs.priority import EMAIL_QUEUES, QUEUES
from emailqueue.redis import connect
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.store import ClaimRequest, Store
from emailqueue.testing.mailserver import MailServer
from emailqueue.worker import EmailWorker
from events.emails import VOTE_CONFIRMATION
from tests.settings import mail_port, state

pytest_plugins = ["emailqueue.testing.pytest_plugin"]
hypothesis.settings.register_profile("untimed", deadline=None)  # other tests run beside it
hypothesis.settings.load_profile("untimed")
# Whoever is started in the background by a shell script ignores Ctrl+C, and hands that down to what a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).parent.parent
MARKED = {"database": "postgresql", "unit": "oldest", "redis/store": "oldest"}
"""Folders whose tests all have a mark that elsewhere a module gives itself."""


@pytest.hookimpl(tryfirst=True)  # before -m selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for folder, mark in MARKED.items():
        for item in items:
            if ROOT / "tests" / folder in item.path.parents:
                item.add_marker(mark)


class Work(Protocol):
    """Runs a worker in this process until nothing waits any more."""

    def __call__(self, *queues: str, seconds: float = 0) -> None: ...


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[EmbeddedValkey]:
    program = os.environ.get("TEST_REDIS_SERVER")
    with EmbeddedValkey(state / "valkey", program=Path(program) if program else None) as server:
        yield server


@pytest.fixture
def valkey(valkey_server: EmbeddedValkey) -> Redis:
    client = connect(timeout=10)
    client.flushall()
    return client


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[MailServer]:
    # Django's test runner turns all mail to a backend in memory.
    if hasattr(config_settings, "MAILERS"):
        settings.MAILERS = config_settings.MAILERS
    else:
        settings.EMAIL_BACKEND = config_settings.EMAIL_BACKEND
    with MailServer(port=mail_port) as server:
        yield server


@pytest.fixture
def work(valkey: Redis, transactional_db: None) -> Work:
    """Work until nothing is waiting, and for `seconds` also wait for what is scheduled."""

    def run(*queues: str, seconds: float = 0) -> None:
        until = time.monotonic() + seconds
        while True:
            worker = EmailWorker(list(queues or QUEUES), connection=valkey)
            worker.work(burst=True)
            waits = any(valkey.zcard(f"rq:scheduled:{queue}") for queue in QUEUES)
            if not waits or time.monotonic() >= until:
                return
            time.sleep(0.01)

    return run


@pytest.fixture(autouse=True)
def no_absence_is_remembered() -> None:
    """Ask Redis again, although it was away in an earlier test."""
    absence.until = 0.0


class WorkerProcess:
    """A `manage.py rqworker`, or another command that works, in a process of its own."""

    def __init__(self, log: Path, *queues: str, command: str = "rqworker", **environ: str) -> None:
        self.log = log
        command_line = [sys.executable, str(ROOT / "manage.py"), *command.split(), *(queues or QUEUES)]
        names = {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": database_url(),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",  # on SIGABRT it says where its threads are
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command_line, cwd=ROOT, env={**os.environ, **names, **environ}, stdout=output, stderr=subprocess.STDOUT
            )

    def ready(self, timeout: float = 20, *, workers: int = 1) -> WorkerProcess:
        def started() -> bool:
            return self.log.read_text().count("worker started") >= workers or self.process.poll() is not None

        eventually(started, timeout)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 20) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def start_worker(valkey: Redis, transactional_db: None, tmp_path: Path) -> Iterator[StartWorker]:
    workers: list[WorkerProcess] = []

    def start(*queues: str, **environ: str) -> WorkerProcess:
        worker = WorkerProcess(tmp_path / f"worker-{len(workers)}.log", *queues, **environ)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.terminate()
    for worker in workers:
        try:
            worker.process.wait(20)
        except subprocess.TimeoutExpired:
            worker.process.send_signal(signal.SIGABRT)
            worker.process.wait()
            raise AssertionError(f"a worker did not end, but was here:\n{worker.log.read_text()}") from None


@pytest.fixture
def queue_settings(settings: Settings) -> Callable[..., None]:
    """Overlay EMAIL_QUEUE for one test."""

    def overlay(**values: Any) -> None:
        settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, **values}
        get_settings.cache_clear()

    return overlay


def eventually(condition: Callable[[], object], timeout: float = 10, *, every: float = 0.01) -> None:
    """Wait until `condition` holds; fail when it does not in `timeout` seconds."""
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"this did not become true within {timeout} s: {condition}")
        time.sleep(every)


def claim_and_vanish(valkey: Redis, *queues: str, jobs: int = 1, lease: float = 1) -> list[Job]:
    """Claim as a worker does that dies before it has read the answer."""
    request = ClaimRequest(worker="vanished", queues=queues or EMAIL_QUEUES, room=jobs, lease=lease)
    return list(Store(valkey).claim(request).jobs)


def database_url() -> str:
    settings = database.settings_dict
    if database.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    base, _, options = os.environ["DATABASE_URL"].partition("?")
    return f"{base.rpartition('/')[0]}/{settings['NAME']}{'?' + options if options else ''}"


@pytest.fixture
def newsletter() -> Iterator[EmailType]:
    """A subscribed type."""
    template = "events/referral-join.html"
    yield register(EmailType(name="newsletter", template=template, needed={"user_name": str}, subscribed=True))
    email_types._registry.pop("newsletter")


@pytest.fixture
def stale_type(monkeypatch: pytest.MonkeyPatch) -> EmailType:
    """The vote confirmation, out of date after an hour, for one test."""
    changed = replace(VOTE_CONFIRMATION, stale_after=3600)
    monkeypatch.setitem(email_types._registry, changed.name, changed)
    return changed


@pytest.fixture
def only_built_in_types() -> Iterator[None]:
    """Take out what examples of the docs have registered in this process, without samples."""
    before = dict(email_types._registry)
    built_in = [kind.name for kind in vars(events.emails).values() if isinstance(kind, EmailType)]
    for name in before.keys() - set(built_in):
        del email_types._registry[name]
    yield
    email_types._registry.update(before)
