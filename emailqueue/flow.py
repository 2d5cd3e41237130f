"""
What holds mail back, kept in Redis, so that all workers heed it with their next claim.

All of it is one hash, which a claim reads with one command: `limit` ("RATE BURST") and `paused:QUEUE`, which staff set;
`outage:SERVER` ("SINCE NEXT-PROBE"), which settling sets; `credit`, the turns of the oldest mail, which claims count.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from emailqueue.conf import RATES, Settings, burst_of, get_settings, parse_rate
from emailqueue.errors import InvalidLimit, UnknownQueue
from emailqueue.jobs.priority import EMAIL_QUEUES, QUEUES
from emailqueue.redis.problems import asking_redis
from emailqueue.store import Store

Answer = TypeVar("Answer")

GIVEN_UP = 3600.0
"""Seconds without a probe after which a mail server is taken for one that no worker uses any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The rate limit over all workers and mail queues."""

    rate: float
    """Mails a second; 0 is no limit."""

    burst: int
    """Mails that may go out at once after a pause."""

    set_by_staff: bool
    """Whether it stands in Redis; otherwise it comes from EMAIL_QUEUE."""

    def __str__(self) -> str:
        return f"{self.rate:g}/s, burst {self.burst}" if self.rate else "none"


def current_limit() -> Limit:
    """Return the limit in force. Raises RedisUnavailable."""
    return limit_in(_ask(Store.flow), get_settings())


def set_limit(rate: str, *, burst: int | None = None) -> Limit:
    """
    Have all workers keep to `rate` ("20/s", "600/m", "0" for none) from their next claim on, and return the limit.

    `burst`: mails that may go out at once after a pause, 1 is strict; by default a twentieth of a second's mails.
    It outlives restarts and the settings. Raises InvalidLimit or RedisUnavailable.
    """
    try:
        mails = parse_rate(rate)
    except ValueError:
        raise InvalidLimit(f"The limit is {rate!r}. Use {RATES}.") from None
    if burst is not None and (type(burst) is not int or burst < 1):  # True is an int, too
        raise InvalidLimit(f"The burst is {burst!r}. Use a whole number of 1 or more; 1 is strict.")
    limit = Limit(rate=mails, burst=burst_of(mails) if burst is None else burst, set_by_staff=True)
    _ask(lambda store: store.change_flow(put={"limit": f"{limit.rate!r} {limit.burst}"}))
    return limit


def reset_limit() -> Limit:
    """Go back to the limit of EMAIL_QUEUE, and return it. Raises RedisUnavailable."""
    _ask(lambda store: store.change_flow(drop=["limit"]))
    return limit_in({}, get_settings())


def limit_in(flow: Mapping[str, str], settings: Settings) -> Limit:
    """Return the limit that `flow`, the hash in Redis, and the settings come to."""
    rate, _space, burst = flow.get("limit", "").partition(" ")
    if burst:
        return Limit(rate=float(rate), burst=int(burst), set_by_staff=True)
    return Limit(rate=settings.rate_limit, burst=settings.tokens_at_once, set_by_staff=False)


def pause(*queues: str) -> tuple[str, ...]:
    """
    Hand out nothing of `queues`, by default of all mail queues, and return all that are paused then.

    What is scheduled there waits, too; what workers have in hand ends. Events go on unless "events" is named.
    Raises UnknownQueue or RedisUnavailable.
    """
    names = _known(queues)
    _ask(lambda store: store.change_flow(put={f"paused:{queue}": "1" for queue in names}))
    return paused_queues()


def resume(*queues: str) -> tuple[str, ...]:
    """Hand out `queues` again, by default all mail queues, and return what is still paused. Raises as pause() does."""
    names = _known(queues)
    _ask(lambda store: store.change_flow(drop=[f"paused:{queue}" for queue in names]))
    return paused_queues()


def paused_queues() -> tuple[str, ...]:
    """Return the queues that are paused, in the order of priority. Raises RedisUnavailable."""
    return paused_in(_ask(Store.flow))


def paused_in(flow: Mapping[str, str]) -> tuple[str, ...]:
    """Return the queues that are paused by `flow`, the hash in Redis."""
    return tuple(queue for queue in QUEUES if f"paused:{queue}" in flow)


def outages_in(flow: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> dict[str, datetime]:
    """Return the mail servers that are away by `flow`, the hash in Redis, and since when; without those given up."""
    outages = {}
    for field, value in flow.items():
        if field.startswith("outage:"):
            since, next_probe = map(float, value.split())
            if next_probe > clock() - GIVEN_UP:
                outages[field.removeprefix("outage:")] = datetime.fromtimestamp(since, tz=UTC)
    return outages


def _known(queues: tuple[str, ...]) -> tuple[str, ...]:
    for queue in queues:
        if queue not in QUEUES:
            raise UnknownQueue(f"There is no queue {queue!r}. Use one of {', '.join(QUEUES)}.")
    return queues or EMAIL_QUEUES


def _ask(question: Callable[[Store], Answer]) -> Answer:
    with asking_redis(effect="nothing is known to be changed") as connection:
        return question(Store(connection))
