"""What docs/types.md says is so: its files, word for word, make an e-mail type that works."""

from __future__ import annotations

import builtins
import datetime as dt
import typing
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from emailqueue import schema
from emailqueue.schema.field_types import CODED, PLAIN
from emailqueue.schema.fields import Compiler
from tests.conftest import ROOT
from tests.support.host_project import files_of, run_tests
from tests.support.tables import code, page, table

TESTS = """
from django.core import mail
from django.core.management import call_command
from emailqueue.errors import MissingContext
import pytest
from shop.orders import ship, ship_all

CUSTOMER = {"email": "ada@example.com", "language": "de"}

def test_it_goes_out(email_queue):
    ship(7, CUSTOMER)
    email_queue.assert_queued("order-shipped", to="ada@example.com", context={"number": 7}, language="de")
    assert email_queue.drain().sent == 1
    (message,) = mail.outbox
    assert message.subject == "Order 7 is on its way"
    assert (message.from_email, message.reply_to) == ("The Shop <shop@example.com>", ["help@example.com"])
    assert [tuple(part) for part in message.attachments] == [("order-7.txt", "Lamp: 19.90", "text/plain")]
    assert message.body.startswith("4. Mai 07:00 ")  # America/Chicago: TIME_ZONE is left to Django

def test_common_fields_are_kept(email_queue):
    ship_all([(7, "ada@example.com"), (8, "bob@example.com")])
    for number, to in [(7, "ada@example.com"), (8, "bob@example.com")]:
        context = {"number": number, "note": "Sent together", "arrives": "2031-05-04T12:00:00+00:00", "parts": []}
        email_queue.assert_queued("order-shipped", to=to, context=context)

def test_the_sentence_is_said():
    from emailqueue import queue_email
    from emailqueue.errors import InvalidContext
    parts = [{"name": "Lamp", "price": "1"}, {"name": "Bulb", "price": 19.9}]
    with pytest.raises(InvalidContext) as error:
        queue_email("order-shipped", "ada@example.com", {"number": 7, "track_url": "https://x.example", "parts": parts})
    assert str(error.value) in PAGE

def test_it_is_checked():
    with pytest.raises(MissingContext, match="track_url"):
        from emailqueue import queue_email
        queue_email("order-shipped", "ada@example.com", {"number": 7})

def test_the_commands_write_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in COMMANDS:
        call_command(*line.split()[2:])
    text = (tmp_path / "preview" / "order-shipped.txt").read_text()
    assert "Subject: Order 7 is on its way" in text and "Attachment: order-7.txt (text/plain, 11" in text
    assert "example.com/track/7" in (tmp_path / "mails" / "order-shipped.de.html").read_text()
"""


def test_the_example_becomes_a_mail_in_a_project(tmp_path: Path) -> None:
    page, files = (ROOT / "docs" / "types.md").read_text(), files_of("types.md")
    commands = [line.strip() for line in page.splitlines() if line.startswith("    python manage.py")]
    plugin = 'pytest_plugins = ["emailqueue.testing.pytest_plugin"]\n'
    tests = TESTS + f"\nCOMMANDS = {commands}\nPAGE = {' '.join(page.split())!r}\n"

    told = run_tests(tmp_path, {**files, "conftest.py": plugin, "test_shop.py": tests, "shop/__init__.py": ""})

    assert (len(files), len(commands)) == (3, 2)
    assert "5 passed" in told


def test_the_table_of_types_has_all_that_a_field_may_be() -> None:
    names = {**vars(builtins), **vars(typing), **vars(dt), **vars(schema), "Decimal": Decimal, "UUID": UUID}
    cells = [code(row[0])[0] for row in table(page("types"), "type", "takes", "as JSON carries it") if row[0][0] == "`"]

    told = [eval(cell.replace("\\|", "|"), names) for cell in cells]  # noqa: S307 - our own page

    assert all(Compiler().field_type(hint).must_be for hint in told)
    assert {*PLAIN, *CODED, schema.Address, schema.Link} - {type(None)} <= set(told)
