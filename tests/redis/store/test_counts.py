"""What the counts of the queues say."""

from __future__ import annotations

from emailqueue.store import Store
from tests.support.scripts import claim, enqueue, settle


def test_counts_tell_what_stands_where(store: Store) -> None:
    enqueue(store, "a", "b")
    enqueue(store, "c", due="+60")
    settle(store, "dead", *claim(store, room=1))
    claim(store, room=1)

    counts = store.counts()

    assert counts.queues["normal"] == {"waiting": 0, "active": 1, "delayed": 1, "stock_failed": 0}
    assert counts.queues["events"] == {"waiting": 0, "active": 0, "delayed": 0, "stock_failed": 0}
    assert (counts.counters["normal:failed"], counts.inbox) == (1, 1)
