"""What tests on a real Valkey share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings
from redis import Redis

from emailqueue.store import Store
from events import topics
from tests.support.parcels import PARCEL_SENT, calls


@pytest.fixture
def store(valkey: Redis) -> Store:
    return Store(valkey)


@pytest.fixture
def media(settings: Settings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def subscribers_as_before() -> Iterator[None]:
    votes = list(topics.VOTE_CREATED.receivers)
    yield
    calls.clear()
    PARCEL_SENT.receivers.clear()
    topics.VOTE_CREATED.receivers[:] = votes
