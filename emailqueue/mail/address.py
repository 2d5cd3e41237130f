"""What the envelope of a mail has of an address as people write it."""

import re
from collections.abc import Iterable
from email.utils import getaddresses
from typing import Any

from emailqueue.errors import InvalidAddress
from emailqueue.schema.address import ascii_domain


def plain_address(address: Any) -> str:
    """Return the address without a display name, as the envelope has it. Raises InvalidAddress."""
    text = str(address).strip()
    pairs = getaddresses([text])
    plain = pairs[0][1] if len(pairs) == 1 else ""
    local = plain.rpartition("@")[0] or plain
    # The parser mends what it can, and drops the rest.
    is_meant = plain == text or (plain in text and ("<" in text or "(" in text))
    if not plain or not is_meant or not local.isascii() or re.search(r"[\s\x00-\x1f]", plain):
        raise InvalidAddress(f"{address!r} is not one address. Use 'ada@example.com' or 'Ada <ada@example.com>'.")
    if "@" in plain and not ascii_domain(plain):
        raise InvalidAddress(f"{address!r} has a domain that cannot be written in ASCII.")
    return plain


def plain_addresses(addresses: Iterable[Any]) -> list[str]:
    """Return addresses as the envelope has them, each once, and no empty ones. Raises InvalidAddress."""
    return list(dict.fromkeys(plain_address(address) for address in addresses if address))
