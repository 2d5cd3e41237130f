from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings as DjangoSettings

from emailqueue import Backoff
from emailqueue.conf import Settings, get_settings


def test_a_project_need_not_write_anything(settings: DjangoSettings) -> None:
    del settings.EMAIL_QUEUE
    get_settings.cache_clear()

    found = get_settings()

    assert found == Settings()
    assert (found.rate_limit, found.concurrency, found.attempts, found.backoff) == (10, 5, 3, Backoff())


@pytest.mark.parametrize(
    ("key", "written", "read"),
    [
        ("FRONTEND_URL", "https://front.example/app/", "https://front.example/app"),
        ("RATE_LIMIT", "10/s", 10.0),
        ("RATE_LIMIT", "90/m", 1.5),
        ("RATE_LIMIT", "1800/h", 0.5),
        ("RATE_LIMIT", "0.5/s", 0.5),
        ("RATE_LIMIT", "0", 0.0),
        ("RATE_LIMIT", 0, 0.0),
        ("BURST", 20, 20),
        ("FAIR_SHARE", 0, 0.0),
        ("FAIR_SHARE", 0.25, 0.25),
        ("CONCURRENCY", "8", 8),
        ("ATTEMPTS", 1, 1),
        ("BACKOFF", {"type": "fixed", "delay": 5}, Backoff(type="fixed", delay=5)),
        ("BACKOFF", Backoff(delay=1), Backoff(delay=1)),
        ("AMBIGUOUS", "hold", "hold"),
        ("MAX_AGE", 3600, 3600.0),
        ("LEASE", 5, 5.0),
        ("IDLE_INTERVAL", 0.5, 0.5),
        ("MAILER", "bulk", "bulk"),
        ("MAILER", None, None),
        ("BULK_RATE", "100/m", 100 / 60),
        ("STATS_TOKEN", "sixteen-or-more-", "sixteen-or-more-"),
        ("STATS_TOKEN", "", ""),
        ("ALERTS", "off", "off"),
        ("ALERTS", "shop.alerts.tell", "shop.alerts.tell"),
    ],
)
def test_a_key_is_read(queue_settings: Callable[..., None], key: str, written: Any, read: Any) -> None:
    queue_settings(**{key: written})

    found = getattr(get_settings(), key.lower())

    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("key", "value", "way_out"),
    [
        ("FRONTEND_URL", "front.example", "https://example.com"),
        ("FRONTEND_URL", None, "https://example.com"),
        ("RATE_LIMIT", "10", "'10/s'"),
        ("RATE_LIMIT", "fast", "'10/s'"),
        ("RATE_LIMIT", "-1/s", "'10/s'"),
        ("BURST", -1, "0 or more"),
        ("FAIR_SHARE", 1.5, "a share from 0 to 1"),
        ("FAIR_SHARE", "0.1", "a share from 0 to 1"),
        ("FAIR_SHARE", True, "a share from 0 to 1"),
        ("CONCURRENCY", 0, "1 or more"),
        ("CONCURRENCY", True, "1 or more"),
        ("ATTEMPTS", 1.5, "1 or more"),
        ("BACKOFF", {"delay": -1}, "0 or more"),
        ("AMBIGUOUS", "drop", "'resend' or 'hold'"),
        ("MAX_AGE", 0, "seconds, 1 or more"),
        ("HEARTBEAT_FILE", "alive", "absolute path"),
        ("HEARTBEAT_FILE", None, "absolute path"),
        ("LEASE", 0, "seconds, 1 or more"),
        ("LEASE", "15", "seconds"),
        ("LEASE", float("nan"), "seconds"),
        ("JOB_TIMEOUT", True, "seconds"),
        ("MAILER", "", "MAILERS"),
        ("MAILER", 5, "MAILERS"),
        ("BULK_RATE", "50", "'10/s'"),
        ("ALERTS", "everybody", "'managers', 'off'"),
        ("ALERTS", None, "dotted path"),
    ],
)
def test_a_bad_value_is_named_with_a_way_out(
    queue_settings: Callable[..., None], key: str, value: Any, way_out: str
) -> None:
    queue_settings(**{key: value})

    with pytest.raises(ImproperlyConfigured) as refusal:
        get_settings()

    assert f"EMAIL_QUEUE[{key!r}] is {value!r}" in str(refusal.value)
    assert way_out in str(refusal.value)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"RATELIMIT": "10/s"}, r"no key 'RATELIMIT'\. Did you mean 'RATE_LIMIT'\? Its keys are .*RATE_LIMIT"),
        ({"rate_limit": "10/s"}, r"no key 'rate_limit'\. Did you mean 'RATE_LIMIT'\? Its keys are "),
        ({"BRUST": 1, "MAILERS": "smtp"}, r"Did you mean 'BURST', 'MAILER'\? Its keys are "),
        ({"COLOUR": "red", 7: 7}, r"no key 'COLOUR', 7\. Its keys are "),
    ],
)
def test_an_unknown_key_is_named_beside_those_that_exist(
    settings: DjangoSettings, written: dict[Any, Any], told: str
) -> None:
    settings.EMAIL_QUEUE = written

    with pytest.raises(ImproperlyConfigured, match=told):
        get_settings()


def test_the_settings_must_be_a_dict(settings: DjangoSettings) -> None:
    settings.EMAIL_QUEUE = ["RATE_LIMIT"]

    with pytest.raises(ImproperlyConfigured, match="Use a dict"):
        get_settings()


@pytest.mark.parametrize("token", ["too-short", 5, None])
def test_a_token_that_is_too_short_is_refused_without_showing_it(
    queue_settings: Callable[..., None], token: Any
) -> None:
    queue_settings(STATS_TOKEN=token)

    with pytest.raises(ImproperlyConfigured, match="Use 16 random characters") as refused:
        get_settings()

    assert str(token) not in str(refused.value)


def test_the_token_is_not_shown_with_the_settings(queue_settings: Callable[..., None]) -> None:
    queue_settings(STATS_TOKEN="sixteen-or-more-")

    assert "sixteen" not in repr(get_settings())


@pytest.mark.parametrize(
    ("written", "at_once"), [({"RATE_LIMIT": "10/s"}, 1), ({"RATE_LIMIT": "200/s"}, 10), ({"BURST": 7}, 7)]
)
def test_the_burst_follows_the_rate_unless_it_is_written(
    queue_settings: Callable[..., None], written: dict[str, Any], at_once: int
) -> None:
    queue_settings(**written)

    tokens = get_settings().tokens_at_once

    assert tokens == at_once


def test_settings_are_read_again_when_they_change(settings: DjangoSettings) -> None:
    settings.EMAIL_QUEUE = {"ATTEMPTS": 7}
    before = get_settings().attempts

    settings.EMAIL_QUEUE = {"ATTEMPTS": 8}
    settings.TIME_ZONE = "Europe/Vienna"

    assert (before, get_settings().attempts) == (7, 8)
