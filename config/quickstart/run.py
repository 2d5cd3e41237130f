"""The course of a quickstart: start the parts, publish the sample, wait until each mail is accounted for."""

import http.client
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from config.quickstart.children import Children
from config.quickstart.report import Progress, progress
from config.quickstart.sample import REPLIES, Sample
from config.quickstart.tally import Tally, take_tally
from config.quickstart.workspace import Workspace
from emailqueue.jobs.priority import QUEUES
from emailqueue.testing import MailServer

PORT = 8000
"""Where the web listens if nothing else does."""
WEB_START = 60.0
"""Seconds that the web may take to answer."""
STANDSTILL = 30.0
"""Seconds without any change after which the mails that are missing are given up for lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What runs."""

    server: MailServer
    children: Children
    password: str
    """Of the user admin."""


@contextmanager
def running(workspace: Workspace) -> Iterator[Parts]:
    """Start Redis, the database, the mail server and two workers, and end all of them, whatever happens."""
    with ExitStack() as stack:
        stack.enter_context(workspace.occupied())
        stack.enter_context(workspace.valkey)
        call_command("migrate", verbosity=0)
        password = secrets.token_hex(4)
        User.objects.create_superuser("admin", "admin@example.com", password)
        server = stack.enter_context(MailServer(folder=workspace.mailbox))
        server.rules.extend(REPLIES)
        environ = {**os.environ, "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(server.port)}
        children = stack.enter_context(Children(logs=workspace.logs, environ=environ))
        # Leaving runs upwards, so that this is first: a second Ctrl+C must not cut the stopping short.
        stack.callback(_ignore_signals)
        for number in (1, 2):
            children.start(f"worker-{number}", "rqworker", *QUEUES)
        yield Parts(server=server, children=children, password=password)


def deliver_sample(parts: Parts, shown: Progress) -> tuple[Tally, float]:
    """
    Publish the sample; return what became of it, and how many seconds that took.

    Mails are missing from a tally that is not settled. Raises CommandError when a child ends.
    """
    sample = Sample()
    began = time.monotonic()
    for _ in sample.steps():
        shown.show(f"{sample.published:,} events published, {len(parts.server.messages):,} mails delivered")
    tally, changed = take_tally(sample, parts.server), time.monotonic()
    while not tally.settled and time.monotonic() - changed < STANDSTILL:
        shown.show(progress(tally, mails=len(sample.recipients)))
        time.sleep(0.1)
        parts.children.check()
        latest = take_tally(sample, parts.server)
        if latest != tally:
            tally, changed = latest, time.monotonic()
    return tally, changed - began


def start_web(parts: Parts) -> str:
    """Start the web and return its address; it does not answer yet."""
    port = _free_port()
    parts.children.start("web", "runserver", "--noreload", f"127.0.0.1:{port}")
    return f"http://127.0.0.1:{port}"


def wait_for_web(parts: Parts, address: str) -> None:
    """Return when the web answers. Raises CommandError when it ends, or takes too long."""
    deadline = time.monotonic() + WEB_START
    while time.monotonic() < deadline:
        parts.children.check()
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5.0)
        try:
            connection.request("GET", "/admin/login/")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise CommandError(f"The web does not answer at {address} after {WEB_START:g} seconds.")


def stay(parts: Parts) -> None:
    """Keep all running until Ctrl+C. Raises CommandError when a child ends."""
    try:
        while True:
            parts.children.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _free_port() -> int:
    for port in (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandError("There is no free port on 127.0.0.1 for the web.")
