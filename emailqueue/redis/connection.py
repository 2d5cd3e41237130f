"""How we connect to the Redis of our queues."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from redis.backoff import NoBackoff
from redis.retry import Retry

from emailqueue.conf import get_settings
from emailqueue.jobs.priority import Priority
from emailqueue.redis.discovery import CLIENT_TIMEOUT, RedisSource, source_of
from emailqueue.redis.embedded import ensure_running


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
    return source_of(_config().get("URL", ""))


_stand_ins: list[Callable[[], redis.Redis]] = []


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

    name = get_settings().rq_name(Priority.CRITICAL.queue)
    config: Mapping[str, Any] | None = django_rq_settings.QUEUES.get(name)
    if config is None:
        raise ImproperlyConfigured(
            f"RQ_QUEUES has no queue {name!r}. Write RQ_QUEUES = {{**rq_queues(), ...}} with rq_queues "
            "from emailqueue.redis."
        )
    if "USE_REDIS_CACHE" in config:
        raise ImproperlyConfigured(
            f"RQ_QUEUES[{name!r}] has USE_REDIS_CACHE, whose connections belong to the cache. Write its address as URL."
        )
    return config


def _forget_clients(*, setting: str | None = None, **kwargs: Any) -> None:
    if setting in (None, "RQ_QUEUES"):
        _client.cache_clear()


setting_changed.connect(_forget_clients, dispatch_uid="emailqueue.redis")
os.register_at_fork(after_in_child=_forget_clients)
