from __future__ import annotations

from email.message import EmailMessage, Message
from email.policy import SMTP, Policy, compat32
from typing import Any

import pytest

from emailqueue.mail.unfolded import unfold


@pytest.mark.parametrize("length", [20, 77, 78, 79, 120, 998])
@pytest.mark.parametrize("kind", [(Message, compat32), (EmailMessage, SMTP)], ids=["django 5.2", "django 6"])
def test_a_header_stays_on_its_line_at_any_length(
    kind: tuple[type[Message[Any, Any]], Policy[Any]], length: int
) -> None:
    message = kind[0](policy=kind[1])
    value = "<" + "x" * (length - len("Long: <>")) + ">"
    message["Long"] = value

    unfold(message, "Long")

    assert f"Long: {value}\n" in message.as_string().replace("\r\n", "\n")
    assert len(f"Long: {value}") == length


def test_a_header_that_is_not_there_is_not_made() -> None:
    message = EmailMessage()

    unfold(message, "Long")

    assert message.keys() == []
