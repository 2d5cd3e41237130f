"""Which addresses are taken."""

from __future__ import annotations

from typing import Any

import pytest

from emailqueue.errors import (
    InvalidAddress,
)
from emailqueue.schema.address import ascii_domain, valid_address
from tests.support.votes import ADA


@pytest.mark.parametrize("address", [ADA, "ada+tag@mail.example.com", "ada@exämple.com", "o'hara@example.com"])
def test_a_plain_address_is_taken_as_it_is(address: str) -> None:
    taken = valid_address(address)

    assert taken == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "Ada <ada@example.com>",
        "ada@example.com, bob@example.com",
        "ada@exa\0mple.com",
        "ada@\ud800.com",
        f"ada@{'ä' * 60}.com",
        f"{'a' * 400}@example.com",
        None,
        b"ada@example.com",
        ["ada@example.com"],
    ],
)
def test_what_is_no_plain_address_is_refused(address: Any) -> None:
    with pytest.raises(InvalidAddress, match="is not an e-mail address") as refusal:
        valid_address(address)

    assert repr(address) in str(refusal.value)


@pytest.mark.parametrize(
    "address", ["ada@example.com\n", "ada@example.com\r\nBcc: eve@example.com", "ada\r@example.com"]
)
def test_a_line_break_in_an_address_is_refused_as_a_forgery(address: str) -> None:
    with pytest.raises(InvalidAddress, match="line break"):
        valid_address(address)


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("ada@Example.COM", "example.com"),
        ("ada@bücher.example", "xn--bcher-kva.example"),
        ("nobody", ""),
        ("", ""),
        ("ada@" + "ü" * 80 + ".example", ""),
    ],
)
def test_the_ascii_domain_an_address_is_told_as_mail_servers_know_it(address: str, domain: str) -> None:
    found = ascii_domain(address)

    assert found == domain
