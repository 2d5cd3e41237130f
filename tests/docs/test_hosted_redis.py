from __future__ import annotations

import time
from pathlib import Path

import pytest
from redis import Redis

from benchmarks import hosted
from emailqueue.jobs.priority import QUEUES
from emailqueue.redis import connect
from emailqueue.testing import MailServer
from tests.conftest import StartWorker

PAGE = (Path(__file__).parents[2] / "docs" / "hosted-redis.md").read_text()
SHOWN = hosted.parsed(PAGE)
WITHIN = 0.1
"""Share by which a figure may differ from what the page says; a worker's beat falls once more or less into a while."""

WITHIN_IN_BULK = 0.4
"""The same for mails in bulk: how many are settled at once depends on the machine."""

WITHIN_IN_MEMORY = 0.25
"""The same for memory: the tables of a server grow by doubling, and that of a used one has done so before."""

pytestmark = pytest.mark.usefixtures("transactional_db")


def of_the_page(*names: str) -> dict[str, object]:
    return {name: pytest.approx(SHOWN[name], rel=_within(name)) for name in names}


def _within(name: str) -> float:
    if name == hosted.MEMORY:
        return WITHIN_IN_MEMORY
    return WITHIN_IN_BULK if "of 500" in name else WITHIN


@pytest.mark.alone  # how much goes into one call depends on how fast the worker is
def test_the_figures_of_the_page_are_those_that_are_measured(
    valkey: Redis, mailbox: MailServer, start_worker: StartWorker
) -> None:
    waiting = hosted.bytes_of_a_waiting_mail(valkey)
    valkey.flushall()
    web = hosted.connections(valkey)
    start_worker().ready()
    time.sleep(1)  # its first look at everything
    idle = hosted.Cost(sent=SHOWN[f"{hosted.IDLE}, sent"], run=SHOWN[f"{hosted.IDLE}, run"])
    connections = hosted.connections(valkey) - web

    costs = hosted.each_way(valkey, mailbox, resting=idle, mails=8)
    figures = {f"{name}, {how}": getattr(cost, how) for name, cost in costs.items() for how in ("sent", "run")}
    figures |= {hosted.TRAFFIC: hosted.bytes_of_a_mail(valkey, mailbox), hosted.MEMORY: waiting}

    assert figures == of_the_page(*figures)
    # One more where two threads happened to ask at the same moment.
    assert 0 < connections <= SHOWN["an idle worker, connections"] + 1
    assert hosted.connections(valkey) - web <= SHOWN["a worker that has worked, connections"] + 1


@pytest.mark.slow  # a beat of housekeeping is a minute
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("valkey")
def test_an_idle_worker_asks_for_what_the_page_says(start_worker: StartWorker) -> None:
    start_worker().ready()
    time.sleep(10)  # its first look at everything

    hour = hosted.in_an_hour(connect(timeout=60), seconds=60)  # it may hear nothing for half a minute

    measured = {f"{hosted.IDLE}, sent": hour.sent, f"{hosted.IDLE}, run": hour.run}
    assert measured == of_the_page(*measured)


def test_a_worker_in_burst_mode_asks_for_what_the_page_says(valkey: Redis, start_worker: StartWorker) -> None:
    assert start_worker("--burst", *QUEUES).process.wait(30) == 0  # loads scripts

    with hosted.counted(valkey) as cost:
        start_worker("--burst", *QUEUES).process.wait(30)

    measured = {f"{hosted.BURST}, sent": cost.sent, f"{hosted.BURST}, run": cost.run}
    assert measured == of_the_page(*measured)


def test_the_tiers_of_the_page_follow_from_its_figures() -> None:
    rows = hosted.tier_rows(SHOWN)

    assert rows
    assert [
        row for row in PAGE.splitlines() if row.startswith(tuple(f"| {tier.name};" for tier in hosted.TIERS))
    ] == rows


def test_what_scripts_run_is_counted_apart_from_what_clients_send(valkey: Redis) -> None:
    other = Redis.from_url(f"unix://{valkey.connection_pool.connection_kwargs['path']}")
    other.ping()

    with hosted.counted(valkey) as cost:
        other.eval("redis.call('SET', 'a', 1); return redis.call('GET', 'a')", 0)
        other.get("a")
    other.close()

    assert (cost.sent, cost.run) == (2, 4)


@pytest.mark.parametrize(
    ("traffic", "commands", "per_second", "carried"),
    [(30.0, None, None, 1000), (30.0, 3000, None, 9), (30.0, 200, None, 0), (30.0, None, 1, 864 * 10 - 1)],
)
def test_a_tier_carries_what_its_scarcest_allowance_does(
    traffic: float, commands: int | None, per_second: int | None, carried: int
) -> None:
    tier = hosted.Tier(name="t", traffic=traffic, commands=commands, per_second=per_second, memory=1)
    figures = {"a mail by `queue_email()`, sent": 10.0, hosted.TRAFFIC: 1e6 if per_second is None else 1.0}

    assert hosted.carries(tier, figures, counting="sent", standing=10, traffic=0) == carried
