"""How a waiting mail is cancelled, or moved to another time."""

from __future__ import annotations

import pytest
from redis import Redis

from emailqueue.store import Added, Store
from tests.support.scripts import WAKE, claim, enqueue, everything, new_job, scheduled, settle, waiting


@pytest.mark.parametrize("due", ["", "+60"])
def test_a_mail_that_waits_is_cancelled_and_its_key_is_free(store: Store, valkey: Redis, due: str) -> None:
    job = new_job(id="a", due=due, keyed=True)
    store.enqueue([job])

    cancelled = store.cancel("a")

    assert cancelled
    assert waiting(valkey) == scheduled(valkey) == []
    assert store.enqueue([job], relayed=True) == [Added.ENDED]  # as its outbox row would bring it back
    assert store.enqueue([job]) == [Added.NEW]


@pytest.mark.parametrize("due", ["", "+60"])
def test_a_mail_that_waits_is_moved_to_another_time(store: Store, valkey: Redis, due: str) -> None:
    enqueue(store, "a", due=due)
    valkey.delete(WAKE)

    later, now = store.reschedule("a", "+30"), (scheduled(valkey), waiting(valkey))
    sooner = store.reschedule("a", "1.0")

    assert (later, now) == (True, (["a"], []))
    assert sooner
    assert (scheduled(valkey), waiting(valkey)) == ([], ["a"])
    assert valkey.llen(WAKE) == 1


@pytest.mark.parametrize("verb", ["", "sent", "dead"])
def test_a_mail_that_a_worker_has_had_is_neither_cancelled_nor_moved(store: Store, valkey: Redis, verb: str) -> None:
    enqueue(store, "a")
    jobs = claim(store)
    if verb:
        settle(store, verb, *jobs)
    before = everything(valkey)

    moved = store.cancel("a"), store.reschedule("a", "+30"), store.cancel("unknown")

    assert moved == (False, False, False)
    assert everything(valkey) == before
