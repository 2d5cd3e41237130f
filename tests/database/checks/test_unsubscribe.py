"""What is said where nobody could unsubscribe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_django import Settings

from emailqueue import email_types, queue_email
from emailqueue.checks.links import check_unsubscribe
from emailqueue.testing import EmailQueue
from tests.support.subscriptions import ADA, JOIN

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("newsletter")]


def test_a_page_that_is_missing_is_told(email_queue: EmailQueue, settings: Settings) -> None:
    settings.ROOT_URLCONF = "django_rq.urls"
    queue_email("newsletter", ADA, JOIN, attempts=1)

    (letter,) = email_queue.drain().dead
    (problem,) = check_unsubscribe()

    assert letter.error_class == "emailqueue.errors.NoUnsubscribePage"
    assert problem.id == "emailqueue.E041"
    assert "include('emailqueue.urls')" in str(problem.hint)


@pytest.mark.parametrize(
    ("site", "prepend_www", "debug", "told"),
    [
        ("https://example.com", False, False, []),
        ("https://www.example.com", True, False, []),
        ("http://example.com", False, True, []),
        ("http://example.com", False, False, ["emailqueue.W042"]),
        ("https://example.com", True, False, ["emailqueue.W042"]),
        ("", False, False, ["emailqueue.W043"]),
    ],
)
def test_a_link_that_no_mail_program_can_follow_is_told(
    settings: Settings,
    queue_settings: Callable[..., None],
    site: str,
    *,
    prepend_www: bool,
    debug: bool,
    told: list[str],
) -> None:
    settings.PREPEND_WWW, settings.DEBUG = prepend_www, debug
    queue_settings(SITE_URL=site)

    assert [problem.id for problem in check_unsubscribe()] == told


def test_a_project_without_addresses_is_told_so(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    assert [problem.id for problem in check_unsubscribe()] == ["emailqueue.E041"]


def test_without_subscribed_types_no_page_is_asked_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = "django_rq.urls"
    monkeypatch.delitem(email_types._registry, "newsletter")
    try:
        assert check_unsubscribe() == []
    finally:
        monkeypatch.undo()
