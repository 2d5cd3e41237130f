"""The testing kit for pytest: pytest_plugins = ["emailqueue.testing.pytest_plugin"] in the top conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from emailqueue.testing.email_queue import EmailQueue


@pytest.fixture
def email_queue() -> Iterator[EmailQueue]:
    """An empty e-mail queue that needs no Redis; drain() runs what is in it."""
    # Imported here, since pytest loads this module before Django is set up.
    from emailqueue.testing.email_queue import EmailQueue

    with EmailQueue() as queue:
        yield queue
