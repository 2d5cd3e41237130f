"""The pages on a phone."""

from __future__ import annotations

import pytest
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer
from redis import Redis

from emailqueue.models import Status
from tests.browser.conftest import Open
from tests.support.letters import ALL, LIST, create, page

STATS = reverse("admin:emailqueue_stats")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(open_as: Open, live_server: LiveServer, valkey: Redis, scheme: str) -> None:
    letter = create(1, message="a-word-that-never-ends-" * 20, smtp_reply="x" * 300)
    browser = open_as(LIST, *ALL)
    browser.set_viewport_size({"width": 390, "height": 800})
    browser.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]

    widths = {}
    for address in (page(letter), page(letter, "edit"), page(letter, "discard"), STATS):
        browser.goto(live_server.url + address)
        widths[address] = browser.evaluate("document.querySelector('#content').scrollWidth")

    assert all(width <= 390 for width in widths.values()), widths


def test_the_list_fits_a_small_screen_with_all_columns(open_as: Open) -> None:
    create(1, recipient="maximiliana.wolkenstein-hohenberg@department.of.long.names.example")
    create(2, status=Status.DISCARDED, message="550 " + "no such mailbox here " * 9)
    browser = open_as(LIST, *ALL)
    browser.set_viewport_size({"width": 1280, "height": 800})

    wide, box = browser.locator("#changelist .results").evaluate("box => [box.scrollWidth, box.clientWidth]")
    colours = [
        browser.locator(f"tr:has(.eq-{kind}) .field-mail").evaluate("cell => getComputedStyle(cell).color")
        for kind in ("open", "closed")
    ]

    assert wide <= box
    assert colours[0] != colours[1]


def test_a_phone_shows_the_newest_bars(open_as: Open, valkey: Redis) -> None:
    browser = open_as(LIST, *ALL)
    browser.set_viewport_size({"width": 390, "height": 800})
    browser.get_by_role("link", name="Statistics").click()
    box = browser.locator(".eq-newest").first

    hidden = box.evaluate("box => box.scrollWidth - box.clientWidth")
    beyond = box.evaluate("b => b.firstElementChild.getBoundingClientRect().right - b.getBoundingClientRect().right")

    assert hidden > 100
    assert abs(beyond) < 2
