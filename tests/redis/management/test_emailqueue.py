"""`manage.py emailqueue VERB`, as staff call it."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from redis import Redis

from emailqueue import flow, get_queue_stats

pytestmark = pytest.mark.usefixtures("valkey")


def emailqueue(*words: str) -> str:
    out = StringIO()
    call_command("emailqueue", *words, stdout=out)
    return out.getvalue().strip()


def test_the_limit_is_shown_changed_and_taken_back(queue_settings: Callable[..., None]) -> None:
    queue_settings(RATE_LIMIT="10/s")

    answers = [emailqueue("limit", *words) for words in ([], ["20/s", "--burst", "4"], ["--burst", "1"], ["default"])]

    assert answers == [
        "10/s, burst 1 (default)",
        "20/s, burst 4 (set by staff; EMAIL_QUEUE says 10/s, burst 1)",
        "20/s, burst 1 (set by staff; EMAIL_QUEUE says 10/s, burst 1)",
        "10/s, burst 1 (default)",
    ]


@pytest.mark.django_db
def test_queues_are_paused_and_resumed() -> None:
    emailqueue("limit", "5/s")

    answers = [emailqueue(*words) for words in (["pause", "low", "events"], ["pause"], ["resume", "high"])]

    assert answers == [
        "paused: low, events",
        "paused: critical, high, normal, low, events",
        "paused: critical, normal, low, events",
    ]
    stats = get_queue_stats()
    assert stats.paused == ("critical", "normal", "low", "events")
    assert (stats.limit.rate, stats.limit.set_by_staff) == (5, True)
    assert (emailqueue("resume"), emailqueue("resume", "events")) == ("paused: events", "paused: nothing")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["limit", "fast"], r"'fast'\. Use mails per time, for example '10/s'"),
        (["pause", "lo"], r"no queue 'lo'\. Use one of critical, high"),
        (["resume", "lo"], r"no queue 'lo'\. Use one of critical, high"),
    ],
)
def test_a_wrong_word_ends_the_command_with_a_way_out(words: list[str], message: str, valkey: Redis) -> None:
    with pytest.raises(CommandError, match=message):
        emailqueue(*words)

    assert flow.paused_queues() == ()
