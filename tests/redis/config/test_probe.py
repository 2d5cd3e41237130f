"""The health check of the image, against a web that really listens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from config.probe import ask
from emailqueue.enqueue.submit import absence
from emailqueue.redis import rq_queues
from tests.conftest import ROOT


@pytest.mark.usefixtures("valkey")
def test_a_web_that_is_ready_answers_the_probe(live_server: LiveServer) -> None:
    port = live_server.thread.port

    probe = subprocess.run(
        [sys.executable, "-m", "config.probe"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port), "ALLOWED_HOSTS": "localhost"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (probe.returncode, json.loads(probe.stdout)["status"]) == (0, "ready")


def test_a_web_that_takes_no_mail_does_not(
    live_server: LiveServer, settings: Settings, queue_settings: Callable[..., None]
) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1")
    queue_settings(OUTBOX="off")
    absence.until = 0.0

    well, told = ask("/health/", port=live_server.thread.port)

    assert (well, json.loads(told)["redis"]) == (False, "away")


@pytest.mark.parametrize(
    ("hosts", "named", "well"),
    [
        ("mail.example", "mail.example", True),
        (".example, other", ".example, other", True),
        ("*", "*", True),
        ("mail.example", "other.example", False),
        ("mail.example", "", False),
    ],
)
def test_the_probe_names_a_host_that_the_web_answers_to(
    live_server: LiveServer, settings: Settings, hosts: str, named: str, *, well: bool
) -> None:
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = [host.strip() for host in hosts.split(",")]

    answer = ask("/alive/", port=live_server.thread.port, environ={"ALLOWED_HOSTS": named})

    assert (answer[0], "ALLOWED_HOSTS" in answer[1]) == (well, not well)


def test_a_redirect_is_no_good_answer_even_where_it_leads_to_one(moved: int) -> None:
    well, told = ask("/moved/", port=moved)

    assert (well, "SECURE_PROXY_SSL_HEADER" in told) == (False, True)
    assert ask("/", port=moved) == (True, "well")


def test_the_proxy_of_the_environment_is_not_asked_about_this_machine(
    moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert ask("/", port=moved) == (True, "well")


class Moved(BaseHTTPRequestHandler):
    """A web that has moved a page to a place where all is well."""

    def do_GET(self) -> None:
        well = self.path == "/"
        self.send_response(200 if well else 301)
        if not well:
            self.send_header("Location", "/")
        self.end_headers()
        self.wfile.write(b"well")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        pass


@pytest.fixture
def moved() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Moved) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_where_nothing_listens_the_probe_says_so() -> None:
    well, told = ask("/alive/", port=1)

    assert (well, "refused" in told) == (False, True)
