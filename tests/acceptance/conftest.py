"""A Valkey that can be held up, and an environment in which the wheel is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.testing import MailServer
from tests.support.installed import build_wheel, install
from tests.support.valkey_proxy import ValkeyProxy


@pytest.fixture
def proxy(valkey_server: EmbeddedValkey, valkey: Redis, tmp_path: Path) -> Iterator[ValkeyProxy]:
    with ValkeyProxy(tmp_path / "proxy.sock", server=valkey_server.socket, valkey=valkey) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment in which the wheel is installed."""
    return install(tmp_path_factory.mktemp("site") / "venv", f"{wheel}[embedded]")


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server
