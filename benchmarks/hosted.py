"""
What the queue asks of a hosted Redis: commands, bytes and connections, for a mail and for nothing at all.

    uv run python -m benchmarks.hosted [--idle 120]

Measured with a worker in a process of its own, against a Valkey that is started for it. Commands are counted with
MONITOR, which tells what clients send from what scripts run. Prints the two tables of docs/hosted-redis.md: what was
measured, and what free tiers carry by that.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis

from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.testing import MailServer

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}
IDLE = "an idle worker, in an hour"
PATIENT = "an idle worker with `IDLE_INTERVAL` and `STATS_INTERVAL` 120, in an hour"
BURST = "a worker with `--burst` that finds nothing"
TRAFFIC = "a mail, bytes to Redis and back"
IDLE_TRAFFIC = "an idle worker, bytes in an hour"
BURST_TRAFFIC = "a worker with `--burst` that finds nothing, bytes"
MEMORY = "a waiting mail, bytes of memory"
WAYS = (
    ("a worker that stands by", IDLE, 24),
    ("the same, with `IDLE_INTERVAL` and `STATS_INTERVAL` 120", PATIENT, 24),
    ("`--burst` every 10 minutes", BURST, 144),
)
"""How a worker may be run, what it costs that way, and how often a day."""
Figures = Mapping[str, float]
END = "that is all"
WAITING = 2000
"""Mails that wait while their memory is measured."""


@dataclass(slots=True)
class Cost:
    """What went to Redis and back."""

    sent: float = 0
    """Commands that clients sent; a script counts as one."""

    run: float = 0
    """Commands that Redis ran: those, and what scripts ran."""

    def less(self, idle: Cost, *, seconds: float, each: int) -> Cost:
        """Return the share of each mail, without what an idle worker would have asked for meanwhile."""
        hours = seconds / 3600
        return Cost(sent=(self.sent - hours * idle.sent) / each, run=(self.run - hours * idle.run) / each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What a provider gives; None: not limited, or not by that."""

    name: str
    commands: int | None = None
    """In a month."""

    per_second: int | None = None
    """Commands in a second."""

    traffic: float
    """Gigabytes in a month, in both directions."""

    memory: float
    """Megabytes."""


TIERS = (
    Tier(name="Upstash, free", commands=500_000, per_second=10_000, traffic=10, memory=256),
    Tier(name="Redis Cloud, free", per_second=100, traffic=5, memory=30),
    Tier(name="Redis Cloud, 250 MB", per_second=1000, traffic=100, memory=250),
)


@contextmanager
def counted(client: Redis) -> Iterator[Cost]:
    """Count what all others ask of Redis until the block ends."""
    cost = Cost()
    # redis-py types most methods, not these.
    with client.client() as marker, client.monitor() as monitor:  # type: ignore[no-untyped-call]
        marker.ping()  # its greeting is none of theirs
        monitor.next_command()

        def listen() -> None:
            while (told := monitor.next_command())["command"] != f"ECHO {END}":
                cost.run += 1
                cost.sent += told["client_type"] != "lua"

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield cost
        finally:
            marker.echo(END)
            listener.join()


def in_an_hour(client: Redis, *, seconds: float) -> Cost:
    """Return what the workers that are running ask for in an hour, when nothing is queued."""
    with counted(client) as cost:
        time.sleep(seconds)
    return Cost(sent=cost.sent * 3600 / seconds, run=cost.run * 3600 / seconds)


def each_way(client: Redis, mailbox: Any, *, resting: Cost, mails: int = 20) -> dict[str, Cost]:
    """Return what a mail costs, by the way that it takes; a worker must be running."""
    from emailqueue import Backoff, queue_bulk_emails, queue_email, schedule_email
    from emailqueue.events import publish
    from emailqueue.flow import reset_limit, set_limit

    def by(call: Callable[[], object], *, times: int, brings: int = 1) -> Cost:
        began = time.monotonic()
        with counted(client) as cost:
            for _ in range(times):
                seen = len(mailbox.messages)
                call()
                mailbox.wait_for(seen + brings, timeout=60)
                time.sleep(0.1)  # until it is settled, and the worker has asked in vain for more
        return cost.less(resting, seconds=time.monotonic() - began, each=times * brings)

    def refused_once() -> None:
        mailbox.replies = ["451 4.3.0 later"]
        queue_email("vote-confirmation", "ada@example.com", VOTE, backoff=Backoff(delay=0.1))

    def soon() -> None:
        schedule_email("vote-confirmation", "ada@example.com", VOTE, datetime.now(UTC) + timedelta(seconds=0.2))

    def at_once(number: int) -> Callable[[], object]:
        readers = [f"reader-{one}@example.com" for one in range(number)]
        return lambda: queue_bulk_emails("vote-confirmation", readers, VOTE)

    vote = {"voter_email": "ada@example.com", "model_name": "Tern", "model_id": "7"}
    for brings_one in (soon, lambda: publish("vote.created", vote)):  # opens the connections, which costs once
        by(brings_one, times=2)
    costs = {
        "a mail by `queue_email()`": by(lambda: queue_email("vote-confirmation", "ada@example.com", VOTE), times=mails),
        "a mail of 500 by `queue_bulk_emails()`": by(at_once(500), times=1, brings=500),
        "a mail by `schedule_email()`": by(soon, times=mails // 2),
        "a mail that is retried once": by(refused_once, times=mails // 2),
        "a mail by an event": by(lambda: publish("vote.created", vote), times=mails),
    }
    set_limit("10/s", burst=1)
    time.sleep(0.5)
    costs["a mail of 30 in bulk, at 10/s"] = by(at_once(30), times=1, brings=30)
    reset_limit()
    return costs


def bytes_of_a_mail(client: Redis, mailbox: Any, *, mails: int = 20) -> float:
    """Return the bytes that go to Redis and back for a mail by queue_email()."""
    from emailqueue import queue_email

    before = traffic(client)
    for _ in range(mails):
        seen = len(mailbox.messages)
        queue_email("vote-confirmation", "ada@example.com", VOTE)
        mailbox.wait_for(seen + 1, timeout=60)
        time.sleep(0.1)
    return (traffic(client) - before) / mails


def bytes_of_a_waiting_mail(client: Redis) -> float:
    """Return the memory that a waiting mail takes; no worker may be running."""
    from emailqueue import queue_bulk_emails

    before = memory(client)
    queue_bulk_emails("vote-confirmation", [f"reader-{number}@example.com" for number in range(WAITING)], VOTE)
    return (memory(client) - before) / WAITING


def connections(client: Redis) -> int:
    """Return how many connections others have."""
    return len(client.client_list()) - 1


def traffic(client: Redis) -> int:
    """Return the bytes that went in both directions since the server's start."""
    told: Mapping[str, Any] = client.info("stats")
    return int(told["total_net_input_bytes"]) + int(told["total_net_output_bytes"])


def memory(client: Redis) -> int:
    """Return the bytes of the data, without buffers of clients, once what was deleted is really gone."""
    while client.info("memory")["lazyfree_pending_objects"]:
        time.sleep(0.01)
    return int(client.memory_stats()["dataset.bytes"])


def carries(tier: Tier, figures: Figures, *, counting: str, standing: float, traffic: float) -> int:
    """
    Return how many mails a day a tier carries; 0 when the commands a day of `standing` use it up.

    Each mail costs what one by queue_email() does. `counting` is "sent" or "run", `traffic` the bytes a day of
    standing by.
    """
    each = figures[f"a mail by `queue_email()`, {counting}"]
    bounds = [(tier.traffic * 1e9 / 30 - traffic) / figures[TRAFFIC]]
    if tier.commands is not None:
        bounds.append((tier.commands / 30 - standing) / each)
    if tier.per_second is not None:
        bounds.append((86400 * tier.per_second - standing) / each)
    return max(0, int(min(bounds)))


def waiting(tier: Tier, figures: Figures) -> int:
    """Return how many mails may wait, nine tenths of the memory being theirs."""
    return int(0.9 * tier.memory * 1e6 / figures[MEMORY])


def tier_rows(figures: Figures) -> list[str]:
    """Return the second table, a row for each tier and way to run a worker."""
    rows = []
    for tier in TIERS:
        for way, name, times in WAYS:
            mails = [
                carries(
                    tier,
                    figures,
                    counting=counting,
                    standing=times * figures[f"{name}, {counting}"],
                    traffic=times * figures[IDLE_TRAFFIC if times == 24 else BURST_TRAFFIC],
                )
                for counting in ("sent", "run")
            ]
            shown = " | ".join(f"{rounded(number):,}" for number in (*mails, waiting(tier, figures)))
            rows.append(f"| {tier.name}; {way} | {shown} |")
    return rows


def rounded(number: float) -> int:
    """Return two significant digits of it, rounded down: what carries more than it says is no lie."""
    unit = int(10 ** max(0, len(str(int(number))) - 2))
    return int(number) // unit * unit


def figure_rows(figures: Figures) -> list[str]:
    """Return the first table: commands sent and run where both are known, else one figure."""
    names = dict.fromkeys(name.removesuffix(", sent").removesuffix(", run") for name in figures)
    rows = []
    for name in names:
        both = [f"{name}, sent", f"{name}, run"] if f"{name}, sent" in figures else [name]
        shown = [_shown(figures[one]) for one in both]
        rows.append(f"| {name} | {' | '.join(shown)} |" + (" |" if len(shown) == 1 else ""))
    return rows


def _shown(figure: float) -> str:
    return f"{figure:,.1f}" if figure < 10 and not float(figure).is_integer() else f"{figure:,.0f}"


def parsed(page: str) -> dict[str, float]:
    """Return the figures of the first table as a page shows them."""
    figures: dict[str, float] = {}
    for name, sent, run in re.findall(r"^\| (an? [^|;]+) \| ([\d,.]+) \| ([\d,.]*) ?\|$", page, re.MULTILINE):
        keys = [f"{name}, sent", f"{name}, run"] if run else [name]
        figures |= {key: float(shown.replace(",", "")) for key, shown in zip(keys, (sent, run), strict=False)}
    return figures


# Run


@contextmanager
def worker(folder: Path, *options: str, settings: str = "config.settings") -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker in a process of its own until the block ends."""
    command = [sys.executable, "manage.py", "rqworker", *options, "critical", "high", "normal", "low", "events"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  our own
            command, stdout=log, stderr=log, env=os.environ | {"DJANGO_SETTINGS_MODULE": settings}
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def in_burst(client: Redis, folder: Path) -> tuple[Cost, int]:
    """Return what a worker in burst mode asks for from its start to its end, when nothing waits."""
    with worker(folder, "--burst") as first:
        first.wait(30)  # loads the scripts
    with counted(client) as cost, worker(folder, "--burst") as process:
        process.wait(30)
    before = traffic(client)
    with worker(folder, "--burst") as process:
        process.wait(30)
    return cost, traffic(client) - before


def measure(client: Redis, mailbox: Any, folder: Path, *, seconds: float) -> dict[str, float]:
    """Measure all figures of the table."""
    client.flushall()
    memory_each = bytes_of_a_waiting_mail(client)
    web = connections(client)
    client.flushall()
    burst, burst_traffic = in_burst(client, folder)
    with worker(folder, settings="benchmarks.patient"):
        time.sleep(10)
        patient = in_an_hour(client, seconds=max(seconds, 120) if seconds >= 60 else seconds)
    with worker(folder):
        time.sleep(10)
        resting_connections = connections(client) - web
        resting = in_an_hour(client, seconds=seconds)
        before = traffic(client)
        time.sleep(seconds)
        resting_traffic = (traffic(client) - before) * 3600 / seconds
        costs = each_way(client, mailbox, resting=resting)
        traffic_each = bytes_of_a_mail(client, mailbox)
        working_connections = connections(client) - web
    costs |= {IDLE: resting, PATIENT: patient, BURST: burst}
    figures = {f"{name}, {how}": getattr(cost, how) for name, cost in costs.items() for how in ("sent", "run")}
    return figures | {
        TRAFFIC: traffic_each,
        IDLE_TRAFFIC: resting_traffic,
        BURST_TRAFFIC: burst_traffic,
        MEMORY: memory_each,
        "a thread of the web, connections": web,
        "an idle worker, connections": resting_connections,
        "a worker that has worked, connections": working_connections,
    }


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=float, default=120, help="seconds for which the idle worker is watched")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedValkey(Path(name) / "valkey") as valkey,
        MailServer() as mailbox,
    ):
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEBUG": "1",
            "DATABASE_URL": f"sqlite:///{name}/db.sqlite3",
            "REDIS_URL": valkey.url,
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mailbox.port),
            "EMAIL_RATE_LIMIT": "0",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        figures = measure(Redis.from_url(valkey.url, socket_timeout=60), mailbox, Path(name), seconds=asked.idle)
    rows = figure_rows(figures)
    print("\n".join(rows), "\n".join(tier_rows(parsed("\n".join(rows)))), sep="\n\n")


if __name__ == "__main__":
    main()
