"""What docs/types.md says is so: its files, word for word, make an e-mail type that works."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ROOT
from tests.host_project import files_of, run_tests

TESTS = """
from django.core import mail
from django.core.management import call_command
from emailqueue.errors import MissingContext
import pytest
from shop.orders import ship

CUSTOMER = {"email": "ada@example.com", "language": "de"}

def test_it_goes_out(email_queue):
    ship(7, CUSTOMER)
    email_queue.assert_queued("order-shipped", to="ada@example.com", context={"number": 7}, language="de")
    assert email_queue.drain().sent == 1
    (message,) = mail.outbox
    assert message.subject == "Order 7 is on its way"
    assert (message.from_email, message.reply_to) == ("The Shop <shop@example.com>", ["help@example.com"])
    assert [tuple(part) for part in message.attachments] == [("order-7.txt", "Lamp", "text/plain")]

def test_it_is_checked():
    with pytest.raises(MissingContext, match="track_url"):
        from emailqueue import queue_email
        queue_email("order-shipped", "ada@example.com", {"number": 7})

def test_the_commands_write_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in COMMANDS:
        call_command(*line.split()[2:])
    text = (tmp_path / "preview" / "order-shipped.txt").read_text()
    assert "Subject: Order 7 is on its way" in text and "Attachment: order-7.txt (text/plain, 9" in text
    assert "example.com/track/7" in (tmp_path / "mails" / "order-shipped.de.html").read_text()
"""


def test_the_example_becomes_a_mail_in_a_project(tmp_path: Path) -> None:
    page, files = (ROOT / "docs" / "types.md").read_text(), files_of("types.md")
    commands = [line.strip() for line in page.splitlines() if line.startswith("    python manage.py")]
    plugin = 'pytest_plugins = ["emailqueue.testing.pytest_plugin"]\n'
    tests = TESTS + f"\nCOMMANDS = {commands}\n"

    told = run_tests(tmp_path, {**files, "conftest.py": plugin, "test_shop.py": tests, "shop/__init__.py": ""})

    assert (len(files), len(commands)) == (3, 2)
    assert "3 passed" in told
