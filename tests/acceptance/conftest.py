"""A Valkey that can be held up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from emailqueue.redis.embedded import EmbeddedValkey
from tests.support.valkey_proxy import ValkeyProxy


@pytest.fixture
def proxy(valkey_server: EmbeddedValkey, valkey: Redis, tmp_path: Path) -> Iterator[ValkeyProxy]:
    with ValkeyProxy(tmp_path / "proxy.sock", server=valkey_server.socket, valkey=valkey) as proxy:
        yield proxy
