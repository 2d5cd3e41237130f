"""The mailer, and its clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emailqueue.conf import Settings
from emailqueue.delivery.smtp import Mailer
from tests.support.mailer import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mailer(clock: Clock) -> Iterator[Mailer]:
    mailer = Mailer(Settings(), clock=clock)
    yield mailer
    mailer.close()
