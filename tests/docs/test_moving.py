"""docs/moving-from-*.md: what their tables name of ours exists, and their code queues what it says."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.core.mail import EmailMultiAlternatives
from pytest_django import Settings

from emailqueue.conf import Settings as QueueSettings
from emailqueue.conf import get_settings
from emailqueue.email_types import EmailType, _registry
from emailqueue.enqueue.call import PerCall
from emailqueue.testing import EmailQueue
from tests.support.names import find
from tests.support.pages import Page
from tests.support.tables import code, page, table

PAGES = [page(f"moving-from-{name}") for name in ("bullmq", "post-office", "celery", "django-rq")]
ADA = SimpleNamespace(email="ada@example.com")

pytestmark = pytest.mark.django_db
each_page = pytest.mark.parametrize("of", PAGES, ids=lambda of: of.path.stem)


@pytest.fixture(autouse=True)
def types_as_before() -> Iterator[None]:
    """Take out what the pages register."""
    before = dict(_registry)
    yield
    for name in _registry.keys() - before.keys():
        del _registry[name]


def after(of: Page) -> dict[str, Any]:
    """Run the code of a page that is ours, block after block, and return the names that it has made."""
    names: dict[str, Any] = {}
    for block in of.blocks:
        if block.language == "python" and block.content.startswith("# after"):
            exec(block.content, names)  # noqa: S102 - our own page
    return names


@each_page
def test_each_page_has_a_table_code_before_and_after_and_a_way_to_drain(of: Page) -> None:
    firsts = [block.content.splitlines()[0] for block in of.blocks]

    assert len(table(of, "there", "here", "note")) >= 12
    assert {first.lstrip("/# ") for first in firsts} >= {"before", "after"}
    assert of.anchors >= {"what-is-called-how", "before-and-after", "move-without-losing-or-doubling", "what-differs"}


@each_page
def test_what_a_table_names_of_ours_exists(of: Page) -> None:
    named = [word for row in table(of, "there", "here", "note") for word in code(row[1])]
    kit = ("email_queue.drain()", "send_mail()")

    unknown = [word for word in named if word not in kit and not is_ours(word)]

    assert unknown == []


@pytest.mark.parametrize("word", ["retries=", 'EMAIL_QUEUE["RETRIES"]', "queue_mail()", "manage.py emailqueue prune"])
def test_what_does_not_exist_is_found(word: str) -> None:
    assert not is_ours(word)


def test_the_code_for_bullmq_queues_the_same_mail_and_imports_the_delayed_ones_once(email_queue: EmailQueue) -> None:
    names = after(PAGES[0])
    names["import_delayed"](['{"id": "9", "to": "bob@example.com", "reward": "Silver badge", "due": 4102444800000}'])

    ada, bob = email_queue.emails

    assert (ada.to, ada.priority, ada.attempts) == ("ada@example.com", 2, 5)
    assert 59 < (ada.due - ada.queued_at).total_seconds() < 61
    assert (bob.to, bob.due) == ("bob@example.com", datetime(2100, 1, 1, tzinfo=UTC))


def test_the_code_for_post_office_queues_the_same_mail(email_queue: EmailQueue) -> None:
    after(PAGES[1])

    [mail] = email_queue.emails

    assert (mail.email_type, mail.priority.queue) == ("reward-delivery", "high")
    assert mail.due == datetime(2030, 1, 1, 9, tzinfo=UTC)
    assert "welcome" in _registry


@pytest.mark.skipif(django.VERSION >= (6, 1), reason="get_connection() takes no backend beside MAILERS")
def test_the_handover_from_post_office_queues_each_mail_and_marks_it(
    email_queue: EmailQueue, settings: Settings
) -> None:
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, "MAILER": "django.core.mail.backends.locmem.EmailBackend"}
    get_settings.cache_clear()
    message = EmailMultiAlternatives("Welcome", "It is good to have you.", to=["ada@example.com"])
    saved: list[int] = []
    waiting = SimpleNamespace(prepare_email_message=lambda: message, status=2, priority=2)
    waiting.save = lambda: saved.append(waiting.status)

    after(PAGES[1])["hand_over"]([waiting], 0)

    assert saved == [0]
    email_queue.assert_queued("message", to="ada@example.com", priority="high")


@pytest.mark.parametrize("of", PAGES[2:], ids=lambda of: of.path.stem)
def test_the_code_for_celery_and_django_rq_queues_the_same_mail(email_queue: EmailQueue, of: Page) -> None:
    after(of)["reward"](ADA, "Gold badge")

    mail = email_queue.assert_queued(
        "reward-delivery", to="ada@example.com", context={"reward_name": "Gold badge"}, delay=timedelta(minutes=1)
    )
    assert mail.attempts == 5


def is_ours(word: str) -> bool:
    """Return whether a word of a table is an option, a key, a call, a name or a command of ours."""
    if key := re.fullmatch(r'EMAIL_QUEUE\["(\w+)"\]', word):
        return hasattr(QueueSettings(), key[1].lower())
    if option := re.fullmatch(r"(\w+)=", word):
        return option[1] in typing.get_type_hints(PerCall)
    if field := re.fullmatch(r"EmailType\((\w+)=\.\.\.\)", word):
        return hasattr(EmailType(name="x", template="x"), field[1])
    if word.startswith("manage.py "):
        return word in ("manage.py rqworker", "manage.py emailqueue purge")
    try:
        return find(word.partition("(")[0]) is not None
    except LookupError:
        return False
