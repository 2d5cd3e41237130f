"""A type that cannot be rendered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emailqueue import (
    EmailType,
    email_types,
    register,
)


@pytest.fixture
def broken() -> Iterator[EmailType]:
    """An e-mail type without a template."""
    yield register(EmailType(name="broken", template="no-such-template.html"))
    email_types._registry.pop("broken")
