"""A hostile mail in its preview."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from emailqueue.email_types import EmailType, _registry
from tests.browser.conftest import Open
from tests.conftest import eventually
from tests.support.letters import ALL, LIST, create, page

EVIL = """{% block subject %}Evil{% endblock %}{% block text_body %}Evil{% endblock %}{% block html_body %}
<html><head><base href="EVIL/"><meta http-equiv="refresh" content="0;url=EVIL/refresh">
<link rel="stylesheet" href="EVIL/style.css"><link rel="prefetch" href="EVIL/prefetch">
<style>body { background: url(EVIL/background.png) }
@import "EVIL/import.css"; @font-face { font-family: x; src: url(EVIL/font) }
p { font-family: x }</style></head>
<body onload="top.evil = 1; fetch('EVIL/onload')"><p id="evil">Evil</p>
<script>parent.evil = 1; fetch("EVIL/script"); alert(1)</script>
<script src="EVIL/script.js"></script>
<img src="EVIL/pixel.png" onerror="parent.evil = 1"><img src="x" onerror="alert(1)">
<iframe src="EVIL/frame"></iframe><object data="EVIL/object"></object>
<video src="EVIL/video" autoplay></video><svg><image href="EVIL/image.svg"/></svg>
<form id="form" action="EVIL/form"><button>Send</button></form>
<a id="link" href="EVIL/link" target="_top">Link</a><a id="script" href="javascript:alert(1)">Run</a>
</body></html>{% endblock %}"""


class Trap:
    """A port that notes who connects, and answers nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._socket.setblocking(False)
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def visits(self) -> int:
        count = 0
        with suppress(BlockingIOError):
            while True:
                self._socket.accept()[0].close()
                count += 1
        return count

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture
def hostile(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: Trap) -> str:
    """An e-mail type whose template tries everything; its source."""
    source = EVIL.replace("EVIL", trap.address)
    (tmp_path / "evil.html").write_text(source)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    monkeypatch.setitem(_registry, "evil", EmailType(name="evil", template="evil.html"))
    return source


def test_a_hostile_mail_runs_nothing_and_fetches_nothing_in_its_preview(
    open_as: Open, live_server: LiveServer, trap: Trap, hostile: str
) -> None:
    letter = create(1, email_type="evil", arguments={"email_type": "evil", "to": "a@b.example", "context": {}})
    browser = open_as(LIST, *ALL)
    shown: list[str] = []

    def note(dialog: Dialog) -> None:
        shown.append(dialog.message)
        dialog.dismiss()

    browser.context.on("dialog", note)

    browser.goto(live_server.url + page(letter))
    browser.locator("iframe.eq-mail").scroll_into_view_if_needed()
    frame = browser.frame_locator("iframe.eq-mail")
    expect(frame.locator("#evil")).to_be_visible()
    frame.locator("#form button").click()
    frame.locator("#script").click()
    frame.locator("#link").click()
    browser.wait_for_timeout(500)
    evil = browser.evaluate("window.evil")
    stayed = browser.url
    browser.goto(live_server.url + page(letter, "preview"))
    expect(browser.locator("#evil")).to_be_visible()
    browser.wait_for_timeout(300)

    assert (trap.visits(), shown, evil) == (0, [], None)
    assert stayed == live_server.url + page(letter)
    assert browser.url == live_server.url + page(letter, "preview")
    # The trap catches: the same mail shown without the policy.
    browser.goto(live_server.url + LIST)
    browser.set_content(hostile.partition("{% block html_body %}")[2], wait_until="commit")
    eventually(trap.visits)
