from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from emailqueue import flow
from emailqueue.conf import Settings
from emailqueue.errors import InvalidLimit, RedisUnavailable, UnknownQueue
from emailqueue.redis import rq_queues


def test_without_a_word_from_staff_the_settings_say_the_limit() -> None:
    limit = flow.limit_in({}, Settings(rate_limit=40.0))

    assert (limit.rate, limit.burst, limit.set_by_staff) == (40, 2, False)


@pytest.mark.parametrize("rate", ["fast", "20", "-1/s", "", "1e9/s", "٣/s"])
def test_a_limit_that_makes_no_sense_is_named_with_a_way_out(rate: str) -> None:
    with pytest.raises(InvalidLimit, match="for example '10/s'") as refusal:
        flow.set_limit(rate)

    assert repr(rate) in str(refusal.value)


@pytest.mark.parametrize("burst", [0, -1, True, 1.5, "2"])
def test_a_burst_that_makes_no_sense_is_named_with_a_way_out(burst: Any) -> None:
    with pytest.raises(InvalidLimit, match="1 is strict") as refusal:
        flow.set_limit("10/s", burst=burst)

    assert repr(burst) in str(refusal.value)


@pytest.mark.parametrize("act", [flow.pause, flow.resume])
def test_an_unknown_queue_is_named_beside_those_that_exist(act: Callable[..., object]) -> None:
    with pytest.raises(UnknownQueue, match=r"no queue 'lo'\. Use one of critical, high, normal, low, events"):
        act("low", "lo")


def test_without_redis_nothing_is_known_to_be_changed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"redis://127.0.0.1:{server.getsockname()[1]}"

    with override_settings(RQ_QUEUES=rq_queues(dead)), pytest.raises(RedisUnavailable, match="nothing is known"):
        flow.pause("low")
