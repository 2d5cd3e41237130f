from __future__ import annotations

from typing import Any

import pytest

from emailqueue import Priority
from emailqueue.errors import InvalidPriority
from emailqueue.jobs.priority import EMAIL_QUEUES, EVENT_QUEUE, QUEUES


def test_each_priority_has_a_number_and_a_queue_of_its_own() -> None:
    queues = {priority.value: priority.queue for priority in Priority}

    assert queues == {1: "critical", 2: "high", 3: "normal", 4: "low"}


def test_the_mail_queues_stand_in_the_order_of_urgency_before_the_events() -> None:
    urgent_first = [priority.queue for priority in sorted(Priority)]

    assert list(EMAIL_QUEUES) == urgent_first
    assert list(QUEUES) == [*urgent_first, EVENT_QUEUE]


@pytest.mark.parametrize("value", [Priority.HIGH, 2, "high", "HIGH", "High"])
def test_a_priority_is_named_by_member_number_or_name(value: Any) -> None:
    priority = Priority.parse(value)

    assert priority is Priority.HIGH


@pytest.mark.parametrize("value", [0, 5, -1, True, 2.0, "urgent", "2", "", None, ["high"]])
def test_anything_else_is_no_priority(value: Any) -> None:
    with pytest.raises(InvalidPriority, match="CRITICAL, HIGH, NORMAL or LOW") as refusal:
        Priority.parse(value)

    assert repr(value) in str(refusal.value)
