"""A large audience: who of it has got what, and how often."""

from __future__ import annotations

import json
from collections import Counter

from redis import Redis

from emailqueue import get_queue_stats
from emailqueue.events import get_event_stats
from emailqueue.testing import MailServer
from tests.conftest import eventually


def everything_arrives(mailbox: MailServer, *recipients: list[str], within: float = 60) -> None:
    expected = {address for addresses in recipients for address in addresses}
    try:
        eventually(lambda: {mail.recipient for mail in mailbox.messages} >= expected, timeout=within, every=0.1)
    except AssertionError:
        missing = expected - {mail.recipient for mail in mailbox.messages}
        raise AssertionError(f"{len(missing)} did not arrive: {sorted(missing)[:5]}") from None
    nothing_is_under_way()


def nothing_is_under_way() -> None:
    def idle() -> bool:
        mails, events = get_queue_stats().main, get_event_stats()
        return not (mails.waiting or mails.active or mails.delayed or events.waiting or events.active or events.delayed)

    eventually(idle, timeout=30, every=0.1)


def doubled_unmarked(mailbox: MailServer, valkey: Redis) -> set[str]:
    """Return who got a mail twice without it being counted as maybe sent."""
    twice = {
        recipient for recipient, count in Counter(mail.recipient for mail in mailbox.messages).items() if count > 1
    }
    for key in valkey.scan_iter("rq:job:*", count=1000):
        data, ambiguous = valkey.hmget(key, "data", "ambiguous")
        if data and ambiguous:
            twice.discard(json.loads(data)[3].get("to"))
    return twice
