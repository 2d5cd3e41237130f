"""Debian's Chromium, driven by Playwright, and people who are logged in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

import config.settings as config_settings
from emailqueue.testing.mailserver import MailServer
from tests.settings import mail_port
from tests.support.letters import staff

CHROMIUM = "/usr/bin/chromium"
REQUIRED = os.environ.get("EMAILQUEUE_REQUIRE_BROWSER") == "1"

Open = Callable[..., Page]


# For a module: while it lives, no other test can run a loop in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright's loop runs in this thread, which makes Django think that its queries are asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            try:
                chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            except Error as error:
                why = f"{CHROMIUM} does not start (apt-get install chromium): {error.message.splitlines()[0]}"
                if REQUIRED:
                    pytest.fail(why)
                pytest.skip(why)
            yield chromium
            chromium.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[MailServer]:
    if hasattr(config_settings, "MAILERS"):
        settings.MAILERS = config_settings.MAILERS
    else:
        settings.EMAIL_BACKEND = config_settings.EMAIL_BACKEND
    server = MailServer(port=mail_port)
    # In a thread, since this one has Playwright's loop, and the server starts one of its own.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(server.start).result()
    yield server
    server.stop()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def open_as(context: BrowserContext, live_server: LiveServer) -> Open:
    """Open an address as a member of staff with these permissions."""

    def open_page(address: str, *permissions: str) -> Page:
        client: Client = staff(*permissions)
        cookie = client.cookies["sessionid"]
        context.add_cookies([{"name": "sessionid", "value": cookie.value, "url": live_server.url}])
        page = context.new_page()
        page.goto(live_server.url + address)
        return page

    return open_page
