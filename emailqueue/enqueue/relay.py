"""
How the outbox reaches Redis.

The life of a row:

1. It is written: with the transaction that queues the job ("always"), or when Redis did not take the job ("failover").
2. A worker's housekeeping offers it to Redis, which adds the job only when its id is unknown: neither on its way nor
   ended lately.
3. It is deleted: after that ("failover"), or when the job has ended ("always").

With "always" a row is offered once. Where that got to is kept in Redis, so that a Redis that has forgotten everything
is offered everything again; every few minutes it starts over, for what was committed late. A row that may have been in
Redis before what Redis remembers is offered as ambiguous.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import takewhile

from emailqueue.conf import get_settings
from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.store import PIECE, Added, OutboxState, Store

YOUNG = timedelta(seconds=10)
"""Age of a row below which its own process is still pushing it ("always")."""
MEMORY = timedelta(minutes=9)
"""For so long Redis remembers for sure which jobs have ended; see ENDED_SPAN in common.lua."""
SETTLING = timedelta(seconds=5)
"""For so long a Redis that begins anew waits for workers to settle what they had in their hands."""


def relay(store: Store) -> int:
    """Offer rows to Redis, oldest first, and return how many jobs were new to it. Raises redis.RedisError."""
    if not OutboxRow.objects.exists():  # idle workers must cost Redis little
        return 0
    state = store.outbox_state()
    return _relay_and_keep(store, state) if get_settings().outbox == "always" else _relay_and_delete(store, state)


def _relay_and_delete(store: Store, state: OutboxState) -> int:
    """Offer each row and delete it."""
    relayed = 0
    while rows := _whose_turn_it_is(list(OutboxRow.objects.order_by("id")[:PIECE]), state):
        answers = _offer(store, rows, state)
        # Deleted last: killed in between, the rows are offered again, and their ids are known then.
        OutboxRow.objects.filter(pk__in=[row.pk for row in rows]).delete()
        relayed += answers.count(Added.NEW)
    return relayed


def _relay_and_keep(store: Store, state: OutboxState) -> int:
    """Offer each row that was not offered yet, and delete those whose jobs have ended."""
    relayed, position = 0, state.position or 0
    while True:
        page = OutboxRow.objects.filter(pk__gt=position).order_by("pk")[:PIECE]
        # Not beyond a young one: it would be passed over.
        rows = _whose_turn_it_is(list(takewhile(lambda row: row.created_at < state.now - YOUNG, page)), state)
        if not rows:
            return relayed
        answers = _offer(store, rows, state)
        ended = [row.pk for row, answer in zip(rows, answers, strict=True) if answer is Added.ENDED]
        OutboxRow.objects.filter(pk__in=ended).delete()
        relayed += answers.count(Added.NEW)
        store.move_outbox_position(position, rows[-1].pk)
        position = rows[-1].pk


def in_doubt(written: datetime, state: OutboxState) -> bool:
    """Whether what was written then may have been sent without Redis remembering it."""
    return written < max(state.since, state.now - MEMORY)


def _whose_turn_it_is(rows: list[OutboxRow], state: OutboxState) -> list[OutboxRow]:
    if state.now - state.since > SETTLING:
        return rows
    return list(takewhile(lambda row: not (row.pushed and row.created_at < state.since), rows))


def _offer(store: Store, rows: list[OutboxRow], state: OutboxState) -> list[Added]:
    jobs = [row.new_job(ambiguous=row.pushed and in_doubt(row.created_at, state)) for row in rows]
    return store.enqueue(jobs, relayed=True)
