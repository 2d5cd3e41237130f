from __future__ import annotations

import pytest
from django.db import models

from emailqueue.models import DeadLetter
from emailqueue.models.fields import KEY, DerivedField, domain_of, text_key


def test_migrations_see_a_plain_column() -> None:
    field = DeadLetter._meta.get_field("recipient_key")

    _name, path, _args, options = field.deconstruct()

    assert path == "django.db.models.CharField"
    assert options == {"max_length": 320, "editable": False, "blank": True, "default": ""}
    assert isinstance(field.clone(), DerivedField)


def test_the_column_follows_its_row_and_keeps_to_its_length() -> None:
    letter = DeadLetter(recipient="A" * 400 + "@Example.com")
    field = DeadLetter._meta.get_field("recipient_key")

    written = field.pre_save(letter, add=True)

    assert written == letter.recipient_key == "a" * 320
    assert isinstance(field, models.CharField)


@pytest.mark.parametrize(
    ("address", "domain"),
    [("Ada@Example.COM", "example.com"), ('"a@b"@x.example', "x.example"), ("ada", ""), ("", ""), ("ada@", "")],
)
def test_the_domain_stands_behind_the_last_at(address: str, domain: str) -> None:
    assert domain_of(address) == domain


def test_the_start_of_a_text_is_found_whatever_its_case_and_spaces() -> None:
    assert text_key("550  No such\n mailbox") == "550 no such mailbox"
    assert len(text_key("word " * 1000)) == KEY
