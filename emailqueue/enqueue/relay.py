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

from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

from emailqueue.conf import get_settings
from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.store import PIECE, Added, OutboxState, Store

YOUNG = timedelta(seconds=10)
"""Age of a row below which its own process is still pushing it ("always")."""
MEMORY = timedelta(minutes=9)
"""For so long Redis remembers for sure which jobs have ended; see SPAN in parts/ended.lua."""
SETTLING = timedelta(seconds=5)
"""For so long a Redis that begins anew waits for workers to settle what they had in their hands."""


def relay(store: Store) -> int:
    """Offer rows to Redis, oldest first, and return how many jobs were new to it. Raises redis.RedisError."""
    if not OutboxRow.objects.exists():  # idle workers must cost Redis little
        return 0
    state, stay = store.outbox_state(), get_settings().outbox == "always"
    may_be_offered = partial(_may_be_offered, state=state, stay=stay)
    relayed, position = 0, (state.position or 0) if stay else 0
    ordered = OutboxRow.objects.order_by("pk")
    while rows := list(takewhile(may_be_offered, ordered.filter(pk__gt=position)[:PIECE])):
        jobs = [row.new_job(ambiguous=row.pushed and in_doubt(row.created_at, state)) for row in rows]
        answers = store.enqueue(jobs, relayed=True)
        gone = [row.pk for row, answer in zip(rows, answers, strict=True) if answer is Added.ENDED or not stay]
        # Deleted last: killed in between, the rows are offered again, and their ids are known then.
        OutboxRow.objects.filter(pk__in=gone).delete()
        if stay:
            store.move_outbox_position(position, rows[-1].pk)
        relayed, position = relayed + answers.count(Added.NEW), rows[-1].pk
    return relayed


def in_doubt(written: datetime, state: OutboxState) -> bool:
    """Return whether what was written then may have been sent without Redis remembering it."""
    return written < max(state.since, state.now - MEMORY)


def _may_be_offered(row: OutboxRow, state: OutboxState, *, stay: bool) -> bool:
    """Return whether it is the row's turn; if not, it is not that of the rows behind it either."""
    if stay and row.created_at >= state.now - YOUNG:
        return False
    return state.now - state.since > SETTLING or not row.pushed or row.created_at >= state.since
