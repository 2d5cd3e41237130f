"""The keys of Redis that Python reads itself; parts/keys.lua has those of the scripts."""

from __future__ import annotations

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


def queue_key(queue: str) -> str:
    """Return the list of a queue."""
    return f"{RQ_KEY_PREFIX}:queue:{get_settings().rq_name(queue)}"


def scheduled_key(queue: str) -> str:
    """Return what is scheduled in a queue."""
    return f"{RQ_KEY_PREFIX}:scheduled:{get_settings().rq_name(queue)}"


def failed_key(queue: str) -> str:
    """Return the jobs of a queue that workers of RQ's own class have failed."""
    return f"{RQ_KEY_PREFIX}:failed:{get_settings().rq_name(queue)}"
