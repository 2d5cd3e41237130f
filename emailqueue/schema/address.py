"""What an e-mail address is."""

from email.utils import getaddresses
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.encoding import punycode

from emailqueue.errors import InvalidAddress


def valid_address(address: Any) -> str:
    """Return `address` when it is one plain e-mail address, without a display name. Raises InvalidAddress."""
    if not isinstance(address, str):
        raise InvalidAddress(f"{address!r} is not an e-mail address. Use a string such as 'ada@example.com'.")
    if "\n" in address or "\r" in address:
        raise InvalidAddress(f"The address {address!r} holds a line break, which would forge mail headers.")
    try:
        validate_email(address)
        punycode(address.rpartition("@")[2])  # the validator accepts domains that SMTP cannot carry
    except (ValidationError, UnicodeError):
        raise InvalidAddress(
            f"{address!r} is not an e-mail address. Use one plain address such as 'ada@example.com'."
        ) from None
    return address


def is_mailbox(address: Any) -> bool:
    """Return whether it is one address, with or without a name before it."""
    if not isinstance(address, str) or "\n" in address or "\r" in address:
        return False
    mailboxes = [mailbox for _name, mailbox in getaddresses([address])]
    try:
        validate_email("".join(mailboxes))
    except ValidationError:
        return False
    return len(mailboxes) == 1


def ascii_domain(address: str) -> str:
    """Return the domain of an address as NewJob.domain has it; empty where there is none."""
    domain = address.rpartition("@")[2] if "@" in address else ""
    try:
        return punycode(domain).lower()
    except UnicodeError:  # a dead letter may hold any address
        return ""
