"""How the mails of a domain that asks to go slower wait, and come back."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from emailqueue.flow import pause
from emailqueue.store import THROTTLED, Store
from tests.support.circuit import settle_for
from tests.support.domains import SICK, let_the_next_try_come, slow
from tests.support.scripts import (
    ask,
    claim,
    claimed,
    commands_of_a_claim,
    counters,
    enqueue,
    redis_time,
    scheduled,
    waiting,
)


def enqueue_sick(store: Store, *ids: str, **fields: Any) -> None:
    enqueue(store, *ids, domain=SICK, **fields)


def test_mails_of_a_throttled_domain_wait_uncharged_without_a_token_while_others_go_on(
    store: Store, valkey: Redis
) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    enqueue(store, "a", "b", domain="well.example")
    slow(store, *claim(store, room=1))

    answer = ask(store, room=2, interval=1_000_000, burst=2)

    assert [job.id for job in answer.jobs] == ["a", "b"]
    assert scheduled(valkey) == ["s1", "s2", "s3"]
    assert counters(valkey, "normal:throttled", "normal:retried") == {"normal:throttled": 1, "normal:retried": 0}
    assert list(store.counts().throttled) == [SICK]
    empty = ask(store)
    assert empty.jobs == []
    assert 3.5 < empty.wait <= 5, "until the domain's next try"


def test_one_mail_of_a_throttled_domain_is_tried_in_each_interval_and_each_in_turn(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    slow(store, *claim(store, room=1))
    claim(store)
    tried = []

    for _ in range(4):
        let_the_next_try_come(valkey)
        jobs = [*claim(store), *claim(store)]
        slow(store, *jobs)
        tried.append([job.id for job in jobs])

    assert tried == [["s1"], ["s2"], ["s3"], ["s1"]]


@pytest.mark.parametrize(("dice", "share"), [(0.0, 1.0), (1.0, 0.75)], ids=["longest", "shortest"])
def test_the_wait_of_a_domain_doubles_up_to_a_quarter_of_an_hour(
    store: Store, valkey: Redis, dice: float, share: float
) -> None:
    enqueue_sick(store, "s1", "s2")
    waits = []

    for _ in range(10):
        slow(store, *claim(store, room=1), dice=dice)
        waits.append(float(valkey.zscore(THROTTLED, SICK) or 0) - redis_time(valkey) / 1e6)
        let_the_next_try_come(valkey)

    steps = [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert waits == pytest.approx([step * share for step in steps], abs=0.5)


def test_what_was_on_its_way_when_its_domain_was_throttled_does_not_slow_it_more(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")

    slow(store, *claim(store, room=3))

    assert valkey.hget(f"emailqueue:throttled:{SICK}", "step") == b"5"
    assert sorted(scheduled(valkey)) == ["s1", "s2", "s3"]


@pytest.mark.parametrize("verb", ["sent", "dead", "retry"])
def test_an_answer_of_the_domain_brings_its_mails_back_in_their_order(store: Store, valkey: Redis, verb: str) -> None:
    enqueue_sick(store, *(f"s{number:03}" for number in range(700)))
    enqueue(store, "a", domain="well.example")
    slow(store, *claim(store, room=3))
    assert claimed(store, room=1) == [], "no more than some hundred are put aside in one claim"
    assert claimed(store, room=1) == ["a"]
    for _ in range(2):
        let_the_next_try_come(valkey)
        slow(store, *claim(store))
    let_the_next_try_come(valkey)
    [probe] = claim(store)

    settle_for(store, verb, probe, reached=True, due=60.0)
    ids = [*claimed(store, room=200), *claimed(store, room=1000)]

    tried = {"s000", "s001", "s002"}
    assert probe.id in tried
    assert set(ids) == {f"s{number:03}" for number in range(700)} - {probe.id}
    assert [job_id for job_id in ids if job_id not in tried] == [f"s{number:03}" for number in range(3, 700)]
    assert store.counts().throttled == {}
    assert valkey.keys("emailqueue:throttled*") == valkey.keys("emailqueue:parked*") == []


def test_a_try_that_ended_without_a_word_to_the_domain_is_followed_by_another_at_once(
    store: Store, valkey: Redis
) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    slow(store, *claim(store, room=1))
    claim(store)
    let_the_next_try_come(valkey)

    settle_for(store, "dead", *claim(store))

    assert claimed(store) == ["s2"]


def test_a_try_that_dies_with_its_worker_is_made_again(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2")
    slow(store, *claim(store, room=1))
    claim(store)
    let_the_next_try_come(valkey)
    [died] = claim(store, lease=0)

    [again] = claim(store)

    assert (died.id, again.id, again.crashes) == ("s1", "s1", 1)


def test_only_one_try_waits_while_its_queue_is_paused(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    enqueue(store, "later", due="+60", queue="high")
    slow(store, *claim(store, room=1))
    claim(store)
    pause("normal")

    for _ in range(3):
        let_the_next_try_come(valkey)
        ask(store)

    assert waiting(valkey) == ["s1"]


def test_a_waiting_mail_of_a_throttled_domain_can_be_cancelled_and_moved(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2", "s3")
    slow(store, *claim(store, room=1))
    claim(store)

    changed = store.cancel("s1"), store.reschedule("s2", "+60")
    let_the_next_try_come(valkey)

    assert changed == (True, True)
    assert claimed(store) == ["s3"]
    assert scheduled(valkey) == ["s2"]


def test_a_mail_without_a_domain_that_is_throttled_waits_alone(store: Store, valkey: Redis) -> None:
    enqueue(store, "a", "b")

    slow(store, *claim(store, room=1))

    assert claimed(store) == ["b"]
    assert scheduled(valkey) == ["a"]


def test_should_the_line_of_a_domain_be_lost_its_mails_come_back_by_the_schedule(store: Store, valkey: Redis) -> None:
    enqueue_sick(store, "s1", "s2")
    slow(store, *claim(store, room=1))
    claim(store)
    assert 3500 < float(valkey.zscore("rq:scheduled:normal", "s2") or 0) - time.time() <= 3600
    valkey.delete(f"emailqueue:parked:{SICK}", THROTTLED)
    valkey.zadd("rq:scheduled:normal", {"s1": 1.0, "s2": 1.0})

    assert claimed(store) == ["s1", "s2"]


def test_throttled_domains_cost_one_command_where_there_are_none(store: Store) -> None:
    enqueue(store, *(f"a{number}" for number in range(20)))
    without = commands_of_a_claim(store, room=5)
    store.connection.flushall()
    enqueue(store, *(f"a{number}" for number in range(20)), domain="well.example")

    with_domains = commands_of_a_claim(store, room=5)

    assert sum(with_domains.values()) == sum(without.values()) + 1
