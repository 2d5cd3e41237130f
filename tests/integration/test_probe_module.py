"""The health check of the image, against a web that really listens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from config.probe import ask
from emailqueue.redis import rq_queues
from emailqueue.submit import absence
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


@pytest.mark.parametrize(("hosts", "well"), [("mail.example", True), (".example, other", True), ("*", True)])
def test_the_probe_names_a_host_that_the_web_answers_to(
    live_server: LiveServer, settings: Settings, hosts: str, *, well: bool
) -> None:
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = [host.strip() for host in hosts.split(",")]

    answer = ask("/alive/", port=live_server.thread.port, environ={"ALLOWED_HOSTS": hosts})

    assert answer[0] is well


def test_where_nothing_listens_the_probe_says_so() -> None:
    well, told = ask("/alive/", port=1)

    assert (well, "refused" in told) == (False, True)
