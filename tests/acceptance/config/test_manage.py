"""What manage.py does before a command has begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, eventually

IGNORANT = ["sh", "-c", 'trap "" TERM; exec "$@"', "sh"]
"""Runs a program that ignores SIGTERM until it sets a handler, as the first process of a container does."""


@pytest.mark.usefixtures("valkey")
def test_a_worker_that_is_stopped_while_it_starts_ends_at_once(tmp_path: Path) -> None:
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [*IGNORANT, sys.executable, "manage.py", "rqworker", "low"], cwd=ROOT, env=environ, stdout=log, stderr=log
        )

    def ended() -> bool:
        worker.send_signal(signal.SIGTERM)
        return worker.poll() is not None

    try:
        eventually(ended, 20, every=0.1)
    finally:
        worker.kill()

    # A signal that comes while Python ends already finds its handler gone.
    assert worker.wait() in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert "worker started" not in (tmp_path / "log").read_text()


STOPPED_IN_A_CALLBACK = """
import os, signal, weakref

class Loaded: pass

loaded = Loaded()
reference = weakref.ref(loaded, lambda _: os.kill(os.getpid(), signal.SIGTERM))
del loaded

from config.settings import *
"""
"""Python ignores what is raised in a callback, and calls some of its own with each import."""


def test_a_signal_that_comes_within_a_callback_of_python_ends_the_command_too(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED_IN_A_CALLBACK)
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "stopped", "PYTHONPATH": str(tmp_path)}

    ran = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environ, capture_output=True, check=False
    )

    assert ran.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(("variable", "value"), [("EMAIL_OUTBOX", "sometimes"), ("EMAIL_PORT", "smtp")])
def test_a_wrong_setting_is_told_in_one_sentence(variable: str, value: str) -> None:
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", variable: value}

    command = [sys.executable, "manage.py", "emailqueue", "doctor", "--json"]
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (2, "")
    [sentence] = ran.stderr.splitlines()
    assert repr(value) in sentence
