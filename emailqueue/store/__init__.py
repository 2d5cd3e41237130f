"""The Lua scripts that move jobs in Redis, and the modules that call them."""

from emailqueue.store.claim import Claim, ClaimRequest
from emailqueue.store.counts import NOW, OUTCOMES, PASSED, Counts, QueueFigures
from emailqueue.store.keys import COMMITTED, COUNTERS, INBOX, OFFERED, REDELIVERED, SINCE, THROTTLED, rq_key
from emailqueue.store.settle import Settled, Settlement
from emailqueue.store.store import OFFER_AGAIN, PIECE, STAGED, Added, OutboxState, Store, Whereabouts, staging_key

__all__ = [
    "COMMITTED",
    "COUNTERS",
    "INBOX",
    "NOW",
    "OFFERED",
    "OFFER_AGAIN",
    "OUTCOMES",
    "PASSED",
    "PIECE",
    "REDELIVERED",
    "SINCE",
    "STAGED",
    "THROTTLED",
    "Added",
    "Claim",
    "ClaimRequest",
    "Counts",
    "OutboxState",
    "QueueFigures",
    "Settled",
    "Settlement",
    "Store",
    "Whereabouts",
    "rq_key",
    "staging_key",
]
