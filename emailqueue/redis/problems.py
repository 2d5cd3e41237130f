"""What an error of Redis or of its client means, and what to do about it."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from django.core.checks import CheckMessage, Error
from redis import exceptions

from emailqueue.errors import RedisUnavailable
from emailqueue.redis.connection import connect, current_source

REFUSALS = (exceptions.ResponseError, exceptions.AuthenticationError)
"""Errors that Redis answers with; redis-py takes the second for one of the connection."""


@contextmanager
def asking_redis(*, effect: str) -> Iterator[redis.Redis]:
    """Give the connection to Redis. Raises RedisUnavailable, with the `effect` on the caller, for what goes wrong."""
    try:
        yield connect()
    except (exceptions.RedisError, OSError) as error:
        raise unavailable(error, effect=effect) from error


def unavailable(error: BaseException, *, effect: str = "") -> RedisUnavailable:
    """
    Return the error for callers that an error of the client becomes: what failed, why, and what to do.

    `effect`: what follows for the caller, "there are no figures". Holds no password.
    """
    if isinstance(error, RedisUnavailable):
        return RedisUnavailable(str(error))  # of the embedded Valkey, with its reason
    problem = explain(error, address=address_of(connect()), variable=current_source().variable)
    did = "refused" if isinstance(error, REFUSALS) else "did not answer"
    return RedisUnavailable(f"Redis {did}{effect and f', so {effect}'}: {problem.msg} {problem.hint}")


def explain(error: BaseException, *, address: str, variable: str) -> CheckMessage:
    """Return what an error of the client at `address`, which was found by `variable`, means."""
    causes = list(_causes(error))
    found = ((entry, cause) for entry in _PROBLEMS for cause in causes if entry.explains(cause, variable=variable))
    entry, cause = next(found, (_OTHER, error))
    values = {
        "address": address,
        "variable": "REDIS_URL" if variable in ("embedded", "default") else variable,
        "error": str(cause).rstrip("."),
    }
    return Error(entry.msg.format(**values), hint=entry.hint.format(**values), id=entry.id)


def address_of(client: redis.Redis) -> str:
    """Return the URL of the client's server, without user and password."""
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


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """One way in which Redis cannot be used, and what to do then."""

    errors: tuple[type[BaseException], ...] = ()
    """Errors that show it, the cause of an error included."""

    text: str | None = None
    """Regular expression that finds it in an error's message otherwise."""

    found_by: str = ""
    """What the variables that named Redis must begin with."""

    id: str
    msg: str
    hint: str

    def explains(self, error: BaseException, *, variable: str) -> bool:
        shown = isinstance(error, self.errors) or bool(self.text and re.search(self.text, str(error)))
        return shown and variable.startswith(self.found_by)


# The first that explains the error or one of its causes; what is special comes before what is general.
_PROBLEMS: tuple[_Problem, ...] = (
    _Problem(
        errors=(exceptions.AuthenticationError,),
        found_by="UPSTASH",
        id="emailqueue.E005",
        msg="Redis at {address} refuses the token, as Upstash does with a read-only one.",
        # It is the password of another user, default_ro: upstash.com/docs/redis/troubleshooting/readonly_connection
        hint="Copy the standard token into UPSTASH_REDIS_REST_TOKEN, not the read-only one.",
    ),
    _Problem(
        errors=(exceptions.AuthenticationError,),
        id="emailqueue.E005",
        msg="Redis at {address} refuses the password.",
        hint="Check the password, and the user name if there is one, in {variable}. In a URL their special "
        "characters are percent-encoded.",
    ),
    _Problem(
        errors=(exceptions.ReadOnlyError,),
        text="READONLY|read only replica",
        id="emailqueue.E006",
        msg="Redis at {address} is a replica that cannot be written to.",
        hint="Name the primary in {variable}.",
    ),
    _Problem(
        errors=(exceptions.NoPermissionError,),
        text="NOPERM|ACL failure|can't run this command",
        id="emailqueue.E007",
        msg="Redis at {address} lets this user or token not write: {error}.",
        hint="Give the standard token in {variable}, or a user who may run every command, not a read-only one.",
    ),
    _Problem(
        errors=(ssl.SSLCertVerificationError,),
        id="emailqueue.E004",
        msg="The TLS certificate of Redis at {address} is not trusted: {error}.",
        hint="Name the host as the certificate does in {variable}, or the file of its authority in REDIS_CA_FILE "
        "(in a URL that stands in the settings: ?ssl_ca_certs=FILE).",
    ),
    _Problem(
        errors=(ssl.SSLError,),
        text="handshake operation timed out",
        id="emailqueue.E004",
        msg="The server at {address} does not speak TLS.",
        hint="Write redis:// instead of rediss:// in {variable}, or name the port that speaks TLS.",
    ),
    _Problem(
        errors=(exceptions.InvalidResponse, ConnectionResetError),
        text="closed by server",
        id="emailqueue.E004",
        msg="The server at {address} does not answer as a Redis without TLS does.",
        hint="Write rediss:// instead of redis:// in {variable} if it requires TLS; else check host and port.",
    ),
    _Problem(
        errors=(socket.gaierror,),
        id="emailqueue.E002",
        msg="The host of Redis at {address} is not known: {error}.",
        hint="Check the host in {variable}, and that this machine can look it up.",
    ),
    _Problem(
        errors=(exceptions.TimeoutError, TimeoutError),
        id="emailqueue.E003",
        msg="Redis at {address} does not answer in time.",
        hint="Check host and port in {variable} and the firewall between. If the server hangs, read its log.",
    ),
    _Problem(
        text="unknown command .?HELLO",
        id="emailqueue.E008",
        msg="Redis at {address} is too old.",
        hint="Run Redis 6.2 or newer, or any Valkey.",
    ),
    _Problem(
        errors=(OSError,),
        text="No master found",
        id="emailqueue.E001",
        msg="Nothing to connect to at {address}: {error}.",
        hint="Start Redis there, or name another one in {variable}.",
    ),
)

_OTHER = _Problem(
    id="emailqueue.E009",
    msg="Redis at {address} answers with an error: {error}.",
    hint="Look it up in the manual of your Redis; the address is in {variable}.",
)
