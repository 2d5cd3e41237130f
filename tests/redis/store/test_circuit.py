"""What the scripts do while a mail server is away."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from emailqueue.flow import outages_in
from emailqueue.jobs.job import Job
from emailqueue.store import Settled, Settlement, Store
from tests.acceptance.test_pace import commands
from tests.support.circuit import CIRCUIT, SERVER, get_outages, let_the_next_probe_come, settle_for, take
from tests.support.scripts import ask, claimed, counters, enqueue, redis_time, scheduled, waiting


def charged(job: Job, **fields: Any) -> Settlement:
    return Settlement(job=job, verb="retry", history='[{"charged": true}]', **fields)


def begin_outage(store: Store) -> None:
    """Open the circuit with the first mail that waits."""
    assert settle_for(store, "wait", *take(store, room=1)) == [Settled.OUTAGE_BEGAN]


def test_an_outage_puts_mail_back_uncharged_and_hands_out_none(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    enqueue(store, "e", queue="events")

    settled = settle_for(store, "wait", *take(store, room=2, event_room=0))
    answer = ask(store, server=SERVER)

    assert sorted(settled) == [Settled.WRITTEN, Settled.OUTAGE_BEGAN]
    assert waiting(valkey) == ["a", "b", "c"]
    assert [job.id for job in answer.jobs] == ["e"], "events go on"
    assert 0.5 < answer.wait <= 1
    assert counters(valkey, "normal:waited", "normal:retried") == {"normal:waited": 2, "normal:retried": 0}
    assert claimed(store, server="other.example:25") == ["a", "b", "c"], "each mail server has its own circuit"


def test_the_order_holds_although_workers_give_back_their_mails_one_after_the_other(
    store: Store, valkey: Redis
) -> None:
    enqueue(store, *(f"job-{number}" for number in range(9)))
    first, second, third = take(store, room=3), take(store, room=3), take(store, room=2)

    settle_for(store, "wait", *reversed(second))
    settle_for(store, "wait", first[2])
    settle_for(store, "back", *third)
    settle_for(store, "wait", first[1], first[0])

    assert waiting(valkey) == [f"job-{number}" for number in range(9)]


def test_giving_back_many_mails_behind_many_others_stays_cheap(store: Store, valkey: Redis) -> None:
    ids = [f"job-{number:04}" for number in range(2000)]
    enqueue(store, *ids)
    first, second = take(store, room=500), take(store, room=500)
    settle_for(store, "back", *first)
    valkey.config_resetstat()

    settle_for(store, "back", *second)

    assert waiting(valkey) == ids
    assert sum(commands(valkey).values()) < 500 * 50


def test_one_mail_at_a_time_probes_over_all_workers(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    begin_outage(store)
    let_the_next_probe_come(valkey)

    probes = [take(store, worker="w1"), take(store, worker="w2"), take(store, worker="w1")]

    assert [len(probe) for probe in probes] == [1, 0, 0]


def test_probes_rotate_over_mails_and_queues(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", queue="critical")
    enqueue(store, "b", "c")
    enqueue(store, "d", queue="low")
    begin_outage(store)
    probes = []

    for _ in range(8):
        let_the_next_probe_come(valkey)
        [probe] = take(store)
        settle_for(store, "wait", probe)
        probes.append(probe.id)

    assert probes == ["b", "c", "d", "a"] * 2


@pytest.mark.parametrize(("dice", "share"), [(0.0, 1.0), (1.0, 0.75)], ids=["longest", "shortest"])
def test_the_wait_between_probes_doubles_up_to_a_minute(store: Store, valkey: Redis, dice: float, share: float) -> None:
    enqueue(store, "a")
    settle_for(store, "wait", *take(store), dice=dice)
    waits = []

    for _ in range(9):
        waits.append(round(float(valkey.hget(CIRCUIT, "next") or 0) / 1e6 - redis_time(valkey) / 1e6, 1))
        let_the_next_probe_come(valkey)
        settle_for(store, "wait", *take(store), dice=dice)

    steps = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits == pytest.approx([step * share for step in steps], abs=0.11)


@pytest.mark.parametrize(
    ("verb", "reached", "settled"),
    [
        ("sent", True, Settled.OUTAGE_ENDED),
        ("dead", True, Settled.OUTAGE_ENDED),
        ("retry", True, Settled.OUTAGE_ENDED),
        ("retry", False, Settled.WRITTEN),
        ("back", False, Settled.WRITTEN),
    ],
)
def test_the_first_word_of_a_server_that_takes_mail_ends_the_outage(
    store: Store, valkey: Redis, verb: str, reached: bool, settled: Settled
) -> None:
    enqueue(store, "a", "b", "c", "d")
    begin_outage(store)
    let_the_next_probe_come(valkey)
    valkey.delete("emailqueue:wake")

    answer = settle_for(store, verb, *take(store), reached=reached)

    ended = settled is Settled.OUTAGE_ENDED
    assert answer == [settled]
    assert valkey.llen("emailqueue:wake") == ended
    # A probe that ended without a word to the server is followed by another at once.
    assert (len(take(store)) > 1) is ended
    assert bool(get_outages(store)) is not ended


def test_a_mail_that_went_out_before_the_outage_does_not_end_it(store: Store) -> None:
    enqueue(store, "a", "b", "c")
    early, lost = take(store, room=2)
    settle_for(store, "wait", lost)

    answer = settle_for(store, "sent", early, reached=True)

    assert answer == [Settled.WRITTEN]
    assert list(get_outages(store)) == [SERVER]


def test_a_probe_that_dies_with_its_worker_is_followed_by_another(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b", "c")
    begin_outage(store)
    let_the_next_probe_come(valkey)
    [died] = take(store, lease=0)

    [next_probe] = take(store, in_hand=0)

    assert (died.crashes, next_probe.crashes) == (0, 1), "and it is the same, since no answer came"


def test_a_mail_that_fails_again_while_the_server_takes_others_is_charged(store: Store, valkey: Redis) -> None:
    enqueue(store, "poison", "b", "c")
    [poison] = take(store, room=1)
    settle_for(store, "wait", poison, otherwise=charged(poison))
    let_the_next_probe_come(valkey)
    settle_for(store, "sent", *take(store), reached=True)

    [poison] = take(store, room=1)
    settled = settle_for(store, "wait", poison, otherwise=charged(poison, due=60))

    assert (poison.id, poison.charged(), settled) == ("poison", 0, [Settled.WRITTEN])
    assert scheduled(valkey) == ["poison"]
    assert get_outages(store) == {}
    assert claimed(store, server=SERVER) == ["c"]


def test_a_mail_is_not_charged_in_its_first_outage_nor_as_a_probe(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")

    for _ in range(4):
        [job] = take(store)
        settle_for(store, "wait", job, otherwise=charged(job))
        let_the_next_probe_come(valkey)

    [job] = take(store)
    assert job.charged() == 0


def test_another_answer_of_the_server_clears_a_mail_of_suspicion(store: Store, valkey: Redis) -> None:
    enqueue(store, "a")
    begin_outage(store)
    let_the_next_probe_come(valkey)
    [job] = take(store)
    settle_for(store, "retry", job, reached=True, due=0.0)

    [job] = take(store)
    answer = settle_for(store, "wait", job, otherwise=charged(job))

    assert answer == [Settled.OUTAGE_BEGAN]


def test_a_refused_account_is_said_once_an_outage(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b")
    answers = []

    for alert in (False, True, True):
        answers += settle_for(store, "wait", *take(store, room=1), alert=alert)
        let_the_next_probe_come(valkey)

    assert answers == [Settled.OUTAGE_BEGAN, Settled.ACCOUNT_REFUSED, Settled.WRITTEN]


def test_a_mail_server_that_no_worker_probes_any_more_is_not_shown(store: Store) -> None:
    enqueue(store, "a")
    begin_outage(store)

    later = outages_in(store.flow(), clock=lambda: time.time() + 2 * 3600)

    assert (list(get_outages(store)), later) == ([SERVER], {})
