"""The keys of Redis that Python reads itself; parts/keys.lua has those of the scripts."""

from typing import Literal

from rq.defaults import RQ_KEY_PREFIX

from emailqueue.conf import get_settings

WAKE = "emailqueue:wake"
INBOX = "emailqueue:dead"
COMMITTED = "emailqueue:committed"
COUNTERS = "emailqueue:counters"
REDELIVERED = "emailqueue:redelivered"
FLOW = "emailqueue:flow"
THROTTLED = "emailqueue:throttled"
SINCE = "emailqueue:since"
OFFERED = "emailqueue:offered"


def rq_key(kind: Literal["queue", "scheduled", "failed"], queue: str) -> str:
    """Return RQ's key for a queue: its list, what is scheduled in it, or what workers of RQ's own class have failed."""
    return f"{RQ_KEY_PREFIX}:{kind}:{get_settings().rq_name(queue)}"
