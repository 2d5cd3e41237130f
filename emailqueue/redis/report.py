"""What the queue's Redis is, and whether it can carry the queue."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from redis import exceptions

from emailqueue.errors import RedisUnavailable
from emailqueue.redis import connect, current_source

OLDEST_VERSION = (6, 2)
"""The first with what our scripts call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisReport:
    """What is known of the Redis of our queues; str() tells it in one sentence."""

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
    """Errors and warnings, each with its way out as the hint."""

    def __str__(self) -> str:
        if self.latency is None:
            return " ".join(str(problem.msg) for problem in self.problems)
        found = {"embedded": "Embedded Redis", "default": "Redis by default"}.get(
            self.variable, f"Redis found by {self.variable}"
        )
        return f"{found} at {self.address}: {self.server}, {self.persistence}, {self.eviction}, {self.latency:.1f} ms."


def describe_redis(client: redis.Redis | None = None) -> RedisReport:
    """
    Ask the Redis of our queues, through `client` or our own, what it is and whether it can carry them.

    Writes one key that lives for a second. Raises ImproperlyConfigured when RQ_QUEUES lacks our queues; what
    else goes wrong is told by the report's problems, never with a password.
    """
    source = current_source()
    try:
        client = client or connect()
    except RedisUnavailable as error:
        unstarted = Error(str(error), hint="Mend what its log tells, or set REDIS_URL.", id="emailqueue.E001")
        return RedisReport(variable=source.variable, address=str(source.data_dir), problems=(unstarted,))
    address = _address(client)
    try:
        client.ping()
        started = time.perf_counter()
        client.ping()
        latency = (time.perf_counter() - started) * 1000
        info = _answer(client.info)
        config = _answer(client.config_get, "save")
        refusals = _refusals(client, address=address, variable=source.variable)
    except exceptions.RedisError as error:
        problem = _problem(error, address=address, variable=source.variable)
        return RedisReport(variable=source.variable, address=address, problems=(problem,))
    server, persistence = _server(info), _persistence(info, config)
    eviction = info.get("maxmemory_policy", "eviction policy unknown")
    return RedisReport(
        variable=source.variable,
        address=address,
        server=server,
        persistence=persistence,
        eviction=eviction,
        latency=latency,
        problems=(*refusals, *_weaknesses(server=server, persistence=persistence, eviction=eviction)),
    )


def unavailable(error: BaseException, *, so: str = "") -> RedisUnavailable:
    """
    Return the error for callers that an error of the client comes to: what failed, why, and the way out.

    `so`: what follows for the caller, "there are no figures". Holds no password.
    """
    if isinstance(error, RedisUnavailable):
        return RedisUnavailable(str(error))  # the embedded Valkey, which has said why
    source = current_source()
    problem = _problem(error, address=_address(connect()), variable=source.variable)
    did = "refused" if isinstance(error, _REFUSALS) else "did not answer"
    return RedisUnavailable(f"Redis {did}{so and f', so {so}'}: {problem.msg} {problem.hint}")


_REFUSALS = (exceptions.ResponseError, exceptions.AuthenticationError)
"""Errors that Redis answers with; redis-py takes the second for one of the connection."""


def _address(client: redis.Redis) -> str:
    pool = client.connection_pool
    options = pool.connection_kwargs
    if "path" in options:
        return f"unix://{options['path']}"
    if "connection_pool" in options:
        return f"sentinel://{getattr(pool, 'service_name', '')}"
    scheme = "rediss" if issubclass(pool.connection_class, redis.SSLConnection) else "redis"
    host = options.get("host", "localhost")
    place = f"[{host}]" if ":" in host else host
    return f"{scheme}://{place}:{options.get('port', 6379)}/{options.get('db') or 0}"


def _answer(command: Callable[..., Any], *args: str) -> Mapping[str, Any]:
    # Hosted services refuse INFO or CONFIG, or leave fields out; then the report says unknown.
    try:
        answer = command(*args)
    except exceptions.ResponseError:
        return {}
    return answer if isinstance(answer, Mapping) else {}


def _server(info: Mapping[str, Any]) -> str:
    if version := info.get("valkey_version"):
        return f"Valkey {version}"
    if version := info.get("redis_version"):
        return f"Redis {version}"
    return "unknown server"


def _persistence(info: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    if info.get("aof_enabled"):
        return "append-only file on"
    if "aof_enabled" not in info or "save" not in config:
        return "persistence unknown"
    return "snapshots only" if config["save"] else "no persistence"


def _weaknesses(*, server: str, persistence: str, eviction: str) -> Iterator[CheckMessage]:
    version = tuple(int(part) for part in re.findall(r"\d+", server)[:2])
    if version and version < OLDEST_VERSION:
        yield Error(f"{server} is too old.", hint="Run Redis 6.2 or newer, or any Valkey.", id="emailqueue.E008")
    if persistence == "no persistence":
        yield CheckWarning(
            f"{server} keeps nothing on disk: waiting mails are lost when it restarts.",
            hint='Set "appendonly yes" in its configuration.',
            id="emailqueue.W001",
        )
    if eviction not in ("noeviction", "eviction policy unknown"):
        yield CheckWarning(
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
        return [_problem(error, address=address, variable=variable)]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """One way in which Redis cannot be used, and what to do then."""

    kinds: tuple[type[BaseException], ...] = ()
    """Errors that show it, the cause of an error included."""

    words: str | None = None
    """Regular expression that finds it in an error's message otherwise."""

    found_by: str = ""
    """What the variables that named Redis must begin with."""

    id: str
    msg: str
    hint: str

    def explains(self, error: BaseException, *, variable: str) -> bool:
        shown = isinstance(error, self.kinds) or bool(self.words and re.search(self.words, str(error)))
        return shown and variable.startswith(self.found_by)


# The first that explains the error or one of its causes; what is special comes before what is general.
_TROUBLES: tuple[_Trouble, ...] = (
    _Trouble(
        kinds=(exceptions.AuthenticationError,),
        found_by="UPSTASH",
        id="emailqueue.E005",
        msg="Redis at {address} refuses the token, as Upstash does with a read-only one.",
        # It is the password of another user, default_ro: upstash.com/docs/redis/troubleshooting/readonly_connection
        hint="Copy the standard token into UPSTASH_REDIS_REST_TOKEN, not the read-only one.",
    ),
    _Trouble(
        kinds=(exceptions.AuthenticationError,),
        id="emailqueue.E005",
        msg="Redis at {address} refuses the password.",
        hint="Check the password, and the user name if there is one, in {variable}. In a URL their special "
        "characters are percent-encoded.",
    ),
    _Trouble(
        kinds=(exceptions.ReadOnlyError,),
        words="READONLY|read only replica",
        id="emailqueue.E006",
        msg="Redis at {address} is a replica that cannot be written to.",
        hint="Name the primary in {variable}.",
    ),
    _Trouble(
        kinds=(exceptions.NoPermissionError,),
        words="NOPERM|ACL failure|can't run this command",
        id="emailqueue.E007",
        msg="Redis at {address} lets this user or token not write: {error}.",
        hint="Give the standard token in {variable}, or a user who may run every command, not a read-only one.",
    ),
    _Trouble(
        kinds=(ssl.SSLCertVerificationError,),
        id="emailqueue.E004",
        msg="The TLS certificate of Redis at {address} is not trusted: {error}.",
        hint="Name the host as the certificate does in {variable}, or the file of its authority in REDIS_CA_FILE "
        "(in a URL that stands in the settings: ?ssl_ca_certs=FILE).",
    ),
    _Trouble(
        kinds=(ssl.SSLError,),
        words="handshake operation timed out",
        id="emailqueue.E004",
        msg="The server at {address} does not speak TLS.",
        hint="Write redis:// instead of rediss:// in {variable}, or name the port that speaks TLS.",
    ),
    _Trouble(
        kinds=(exceptions.InvalidResponse, ConnectionResetError),
        words="closed by server",
        id="emailqueue.E004",
        msg="The server at {address} does not answer as a Redis without TLS does.",
        hint="Write rediss:// instead of redis:// in {variable} if it wants TLS; else check host and port.",
    ),
    _Trouble(
        kinds=(socket.gaierror,),
        id="emailqueue.E002",
        msg="The host of Redis at {address} is not known: {error}.",
        hint="Check the host in {variable}, and that this machine can look it up.",
    ),
    _Trouble(
        kinds=(exceptions.TimeoutError, TimeoutError),
        id="emailqueue.E003",
        msg="Redis at {address} does not answer in time.",
        hint="Check host and port in {variable} and the firewall between. If the server hangs, read its log.",
    ),
    _Trouble(
        words="unknown command .?HELLO",
        id="emailqueue.E008",
        msg="Redis at {address} is too old.",
        hint="Run Redis 6.2 or newer, or any Valkey.",
    ),
    _Trouble(
        kinds=(OSError,),
        words="No master found",
        id="emailqueue.E001",
        msg="Nothing to connect to at {address}: {error}.",
        hint="Start Redis there, or name another one in {variable}.",
    ),
)

_OTHER_TROUBLE = _Trouble(
    id="emailqueue.E009",
    msg="Redis at {address} answers with an error: {error}.",
    hint="Look it up in the manual of your Redis; the address is in {variable}.",
)


def _problem(error: BaseException, *, address: str, variable: str) -> CheckMessage:
    causes = list(_causes(error))
    found = (
        (trouble, cause) for trouble in _TROUBLES for cause in causes if trouble.explains(cause, variable=variable)
    )
    trouble, cause = next(found, (_OTHER_TROUBLE, error))
    if variable in ("embedded", "default"):
        variable = "REDIS_URL"
    words = {"address": address, "variable": variable, "error": str(cause).rstrip(".")}
    return Error(trouble.msg.format(**words), hint=trouble.hint.format(**words), id=trouble.id)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
