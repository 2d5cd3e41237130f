"""What the system checks say of queues and times."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from emailqueue.checks.rq_queues import check_rq_queues
from emailqueue.redis import rq_queues
from tests.support.system_checks import check

OURS = rq_queues("redis://h")
OVER_TLS = OURS["low"]["URL"].replace("redis:", "rediss:")
PATIENT = {"socket_timeout": 1, "socket_connect_timeout": 1}
pytestmark = pytest.mark.django_db
"""Django's check of JSON fields asks the database, once in a process."""


@pytest.mark.parametrize(
    ("queues", "said"),
    [
        ({}, {"emailqueue.E011": "RQ_QUEUES has no 'critical', 'high', 'normal', 'low', 'events'."}),
        ({**OURS, "low": {**OURS["low"], "URL": "redis://i"}}, {"emailqueue.E012": "for 'low' than for 'critical'"}),
        ({**OURS, "high": {**OURS["high"], "SERIALIZER": "pickle"}}, {"emailqueue.E013": "JSON serializer for 'high'"}),
        ({**OURS, "high": {**OURS["high"], "SERIALIZER": "no.such"}}, {"emailqueue.E013": "for 'high'"}),
        ({**OURS, "events": {"URL": OURS["low"]["URL"]}}, {"emailqueue.E013": "for 'events'"}),
        ({queue: {**OURS[queue], "URL": "redis://h"} for queue in OURS}, {"emailqueue.W015": "no time-outs"}),
        ({queue: {**OURS[queue], "URL": "redis://:secret"} for queue in OURS}, {"emailqueue.E014": "no usable"}),
        (
            {queue: {**OURS[queue], "URL": OVER_TLS + "&ssl_cert_reqs=none"} for queue in OURS},
            {"emailqueue.W016": "anyone can pose as it"},
        ),
        ({queue: {"SERIALIZER": "json"} for queue in OURS}, {"emailqueue.E014": "nor HOST and PORT"}),
        (
            {queue: {"SERIALIZER": "json", "USE_REDIS_CACHE": "default"} for queue in OURS},
            {"emailqueue.E014": "belong to the cache"},
        ),
    ],
)
def test_queues_written_by_hand_are_compared_with_ours(
    settings: Settings, queues: dict[str, Any], said: dict[str, str]
) -> None:
    settings.RQ_QUEUES = queues

    messages = check_rq_queues()

    assert [message.id for message in messages] == list(said)
    assert all(words in message.msg for message, words in zip(messages, said.values(), strict=True))
    assert all("RQ_QUEUES = {**rq_queues(), ...your own}" in str(message.hint) for message in messages)
    assert "secret" not in repr(messages)


@pytest.mark.parametrize(
    "queues",
    [
        {**OURS, "default": {"HOST": "elsewhere", "PORT": 6379}},
        {queue: {"HOST": "h", "PORT": 6379, "SERIALIZER": "json", "REDIS_CLIENT_KWARGS": PATIENT} for queue in OURS},
    ],
)
def test_queues_beside_and_unlike_ours_are_fine(settings: Settings, queues: dict[str, Any]) -> None:
    settings.RQ_QUEUES = queues

    assert check_rq_queues() == []


@pytest.mark.django_db
def test_a_project_without_queues_is_told_so_by_both_checks(settings: Settings) -> None:
    del settings.RQ_QUEUES

    with pytest.raises(SystemCheckError, match=r"emailqueue\.E011"):
        check("redis")
    with pytest.raises(SystemCheckError, match=r"emailqueue\.E011"):
        check()


def test_naive_times_are_reported_before_a_worker_writes_the_first(settings: Settings) -> None:
    call_command("check")
    settings.USE_TZ = False

    with pytest.raises(SystemCheckError, match="USE_TZ is off") as refused:
        call_command("check")

    assert "emailqueue.E051" in str(refused.value)
