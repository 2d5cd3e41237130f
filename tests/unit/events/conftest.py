"""A topic that nobody subscribes after a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.orders import ORDER_SHIPPED, taken


@pytest.fixture(autouse=True)
def _nobody_subscribes() -> Iterator[None]:
    yield
    taken.clear()
    ORDER_SHIPPED.receivers.clear()
