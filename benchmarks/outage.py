"""
What an outage of the mail server costs: it goes away in the middle of a drain of 1,000 mails by two workers.

    uv run python -m benchmarks.outage [--seconds 120] [--limit 50/s]

Prints what happened to the mails, when the workers tried to connect, and how long after the server's return the next
probe and the first mail came.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.testing import MailServer

MAILS = 1000
VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="how long the mail server is away")
    parser.add_argument("--limit", default="50/s", help="rate limit of the workers")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedValkey(Path(folder) / "valkey") as valkey,
        MailServer() as mailbox,
    ):
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEBUG": "1",
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "REDIS_URL": valkey.url,
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mailbox.port),
            "EMAIL_RATE_LIMIT": asked.limit,
        }
        measure(mailbox, seconds=asked.seconds, log=Path(folder) / "log")


def measure(mailbox: MailServer, *, seconds: float, log: Path) -> None:
    """Let the mail server go away for `seconds`, and print what came of it."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)

    from emailqueue import get_queue_stats, queue_bulk_emails

    readers = [f"reader-{number:04}@example.com" for number in range(MAILS)]
    queue_bulk_emails("vote-confirmation", readers, VOTE)
    command = [sys.executable, "manage.py", "rqworker", "critical", "high", "normal", "low", "events"]
    with log.open("ab") as output:
        workers = [subprocess.Popen(command, stdout=output, stderr=output) for _ in range(2)]  # noqa: S603  our own
    try:
        mailbox.wait_for(300, timeout=60)
        mailbox.stop()
        absent = MailServer(port=mailbox.port)
        absent.script("connect", ["drop"] * 1000)
        with absent:
            time.sleep(seconds)
        mailbox.start()
        returned, before = time.time(), len(mailbox.messages)
        mailbox.wait_for(MAILS, timeout=180)
        while get_queue_stats().main.completed < MAILS:
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(20)

    stats = get_queue_stats()
    received = [readers.index(mail.recipient) for mail in mailbox.messages]
    first = mailbox.messages[before].received_at - returned
    figures = {
        "away for": f"{seconds:g} s",
        "dead letters": stats.dlq.count,
        "attempts charged": stats.main.retried,
        "mails sent twice": sum(count - 1 for count in Counter(received).values()),
        "mails out of their place by": max(abs(place - at) for at, place in enumerate(received)),
        "connections tried": len(absent.calls),
        "at": ", ".join(f"{call - absent.calls[0]:.1f}" for call in absent.calls) + " s",
        "first mail after the server's return": f"{first:.2f} s, which was the next probe",
    }
    for name, figure in figures.items():
        sys.stdout.write(f"{name:38} {figure}\n")


if __name__ == "__main__":
    main()
