"""A topic that nobody subscribes after a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.crates import CRATE_OPENED


@pytest.fixture(autouse=True)
def _nobody_subscribes() -> Iterator[None]:
    yield
    CRATE_OPENED.receivers.clear()
