"""The keys of Redis that Python reads itself; parts/keys.lua has those of the scripts."""

from __future__ import annotations

WAKE = "emailqueue:wake"
INBOX = "emailqueue:dead"
COMMITTED = "emailqueue:committed"
COUNTERS = "emailqueue:counters"
REDELIVERED = "emailqueue:redelivered"
FLOW = "emailqueue:flow"
THROTTLED = "emailqueue:throttled"
SINCE = "emailqueue:since"
OFFERED = "emailqueue:offered"
