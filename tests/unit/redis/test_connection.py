"""The queues for django-rq, and our own client."""

from __future__ import annotations

import os

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django_rq.connection_utils import get_connection
from pytest_django import Settings
from redis.retry import Retry

from emailqueue.jobs.priority import QUEUES
from emailqueue.redis import connect, current_source, revive, rq_queues
from tests.support.redis_options import options


def test_our_five_queues_share_one_connection_that_django_rq_takes(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://:secret@h:6380/3")

    found = [get_connection(name).connection_pool.connection_kwargs for name in QUEUES]

    expected = {"host": "h", "port": 6380, "db": 3, "password": "secret"}
    timeouts = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
    assert [{name: kwargs[name] for name in expected | timeouts} for kwargs in found] == [expected | timeouts] * 5
    assert {config["SERIALIZER"] for config in settings.RQ_QUEUES.values()} == {"rq.serializers.JSONSerializer"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}),
        ("redis://h?socket_timeout=7", {"socket_timeout": 7.0, "socket_connect_timeout": 1.0}),
        ("unix:///run/r.sock?db=3", {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "db": 3}),
    ],
)
def test_timeouts_are_added_to_a_url_that_has_none(url: str, expected: dict[str, object]) -> None:
    made = options(rq_queues(url)["critical"]["URL"])

    assert {name: made[name] for name in expected} == expected


def test_a_wrong_url_for_rq_queues_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"rq_queues\(url\) is 'https://h'"):
        rq_queues("https://h")


def tries_of(retry: Retry) -> int:
    tries = []

    def send() -> None:
        tries.append(1)
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        retry.call_with_retry(send, lambda _: None)
    return len(tries)


@pytest.mark.parametrize(
    "config",
    [
        {"URL": "redis://h:6380/3?socket_timeout=9"},
        {"HOST": "h", "PORT": 6380, "DB": 3},
        {"UNIX_SOCKET_PATH": "/run/r.sock", "DB": 3},
    ],
)
def test_our_client_waits_a_second_and_repeats_nothing(settings: Settings, config: dict[str, object]) -> None:
    settings.RQ_QUEUES = {"critical": config}

    kwargs = connect().connection_pool.connection_kwargs

    assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"], kwargs["db"]) == (1.0, 1.0, 3)
    assert tries_of(kwargs["retry"]) == 1


def test_our_client_goes_to_the_master_of_a_sentinel(settings: Settings) -> None:
    settings.RQ_QUEUES = {"critical": {"SENTINELS": [("h", 26379)], "MASTER_NAME": "mail", "DB": 0}}

    client = connect(timeout=2.0)

    assert type(client.connection_pool) is redis.sentinel.SentinelConnectionPool
    assert client.connection_pool.connection_kwargs["socket_timeout"] == 2.0


def test_one_client_serves_all_callers_until_the_settings_change(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://one")
    first, again, patient = connect(), connect(timeout=1.0, retries=0), connect(timeout=5.0)

    settings.RQ_QUEUES = rq_queues("redis://two")

    assert first is again
    assert first is not patient
    assert connect().connection_pool.connection_kwargs["host"] == "two"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_makes_a_client_of_its_own(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://h")
    client = connect()

    child = os.fork()
    if child == 0:
        os._exit(0 if connect() is not client else 1)
    _, status = os.waitpid(child, 0)

    assert status == 0


@pytest.mark.parametrize(
    ("queues", "sentence"),
    [
        ({"default": {"URL": "redis://h"}}, "RQ_QUEUES has no queue 'critical'. Write RQ_QUEUES = "),
        ({"critical": {"USE_REDIS_CACHE": "default"}}, "USE_REDIS_CACHE, whose connections belong to the cache"),
    ],
)
def test_queues_that_we_cannot_use_are_refused(settings: Settings, queues: dict[str, object], sentence: str) -> None:
    settings.RQ_QUEUES = queues

    with pytest.raises(ImproperlyConfigured, match=sentence):
        connect()


def test_the_source_of_our_queues_is_remembered(settings: Settings) -> None:
    found = []
    for queues in (rq_queues("redis://h"), {"critical": {"URL": "redis://by-hand"}}, {"critical": {"HOST": "h"}}):
        settings.RQ_QUEUES = queues

        found.append(current_source().variable)

    assert found == ["rq_queues(url)", "RQ_QUEUES", "RQ_QUEUES"]


def test_a_server_that_is_not_ours_is_not_revived(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")

    revive()

    assert current_source().data_dir is None
