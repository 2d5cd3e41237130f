"""What the queue's Redis is, and whether it can carry the queue."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from django.core.checks import CheckMessage, Error, Warning
from redis import exceptions

from emailqueue.errors import RedisUnavailable
from emailqueue.redis import connect, current_source
from emailqueue.redis.problems import address_of, explain


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisReport:
    """What is known of the Redis of our queues; str() is one sentence."""

    variable: str
    """What it was found by, see RedisSource."""

    address: str
    """Its URL without user and password."""

    server: str = "unknown server"
    """Name and version, for example "Valkey 9.1.2"."""

    persistence: str = "persistence unknown"
    """One of "append-only file on", "snapshots only", "no persistence", "persistence unknown"."""

    eviction: str = "eviction policy unknown"
    """Its maxmemory-policy."""

    latency: float | None = None
    """Round trip in milliseconds; None when it did not answer."""

    problems: tuple[CheckMessage, ...] = ()
    """Errors and warnings, each with what to do as the hint."""

    def __str__(self) -> str:
        if self.latency is None:
            return " ".join(str(problem.msg) for problem in self.problems)
        names = {"embedded": "Embedded Redis", "default": "Redis by default"}
        found = names.get(self.variable, f"Redis found by {self.variable}")
        return f"{found} at {self.address}: {self.server}, {self.persistence}, {self.eviction}, {self.latency:.1f} ms."


def describe_redis(client: redis.Redis | None = None) -> RedisReport:
    """
    Ask the Redis of our queues, through `client` or our own, what it is and whether it can carry them.

    Writes one key that lives for a second. Raises ImproperlyConfigured when RQ_QUEUES lacks our queues; what
    else goes wrong is among the report's problems, never with a password.
    """
    source = current_source()
    try:
        client = client or connect()
    except RedisUnavailable as error:
        unstarted = Error(str(error), hint="Correct what its log says, or set REDIS_URL.", id="emailqueue.E001")
        return RedisReport(variable=source.variable, address=str(source.data_dir), problems=(unstarted,))
    found: dict[str, Any] = {"address": address_of(client), "variable": source.variable}
    try:
        client.ping()
        started = time.perf_counter()
        client.ping()
        latency = (time.perf_counter() - started) * 1000
        info = _answer(client.info)
        config = _answer(client.config_get, "save")
        refusals = _refusals(client, **found)
    except exceptions.RedisError as error:
        return RedisReport(**found, problems=(explain(error, **found),))
    facts = {
        "server": _server(info),
        "persistence": _persistence(info, config),
        "eviction": str(info.get("maxmemory_policy", "eviction policy unknown")),
    }
    return RedisReport(**found, **facts, latency=latency, problems=(*refusals, *_weaknesses(**facts)))


def _answer(command: Callable[..., Any], *args: str) -> Mapping[str, Any]:
    # Hosted services refuse INFO or CONFIG, or leave fields out; then the report says unknown.
    try:
        answer = command(*args)
    except exceptions.ResponseError:
        return {}
    return answer if isinstance(answer, Mapping) else {}


def _server(info: Mapping[str, Any]) -> str:
    for name in ("Valkey", "Redis"):
        if version := info.get(f"{name.lower()}_version"):
            return f"{name} {version}"
    return "unknown server"


def _persistence(info: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    if info.get("aof_enabled"):
        return "append-only file on"
    if "aof_enabled" not in info or "save" not in config:
        return "persistence unknown"
    return "snapshots only" if config["save"] else "no persistence"


def _weaknesses(*, server: str, persistence: str, eviction: str) -> Iterator[CheckMessage]:
    version = tuple(int(part) for part in re.findall(r"\d+", server)[:2])
    if version and version < (6, 2):  # the first with what our scripts call
        yield Error(f"{server} is too old.", hint="Run Redis 6.2 or newer, or any Valkey.", id="emailqueue.E008")
    if persistence == "no persistence":
        yield Warning(
            f"{server} keeps nothing on disk: waiting mails are lost when it restarts.",
            hint='Set "appendonly yes" in its configuration.',
            id="emailqueue.W001",
        )
    if eviction not in ("noeviction", "eviction policy unknown"):
        yield Warning(
            f"{server} throws keys away when its memory is full ({eviction}), waiting mails among them.",
            hint='Set "maxmemory-policy noeviction" in its configuration, and give the cache another Redis.',
            id="emailqueue.W002",
        )


def write_a_key(client: redis.Redis) -> None:
    """Write one key that lives for a second, as our scripts write. Raises redis.RedisError."""
    client.eval("return redis.call('SET', KEYS[1], '1', 'PX', 1000)", 1, "emailqueue:check")


def _refusals(client: redis.Redis, *, address: str, variable: str) -> list[CheckMessage]:
    try:
        write_a_key(client)
    except exceptions.ResponseError as error:
        return [explain(error, address=address, variable=variable)]
    return []
