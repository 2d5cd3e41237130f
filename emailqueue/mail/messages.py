"""Which of Django's messages a job sends."""

from collections.abc import Mapping
from typing import Any

from django.core.mail import EmailMultiAlternatives

from emailqueue.email_types import RESERVED
from emailqueue.mail.address import plain_address, plain_addresses
from emailqueue.mail.attachments import fetch
from emailqueue.mail.content import read_inline
from emailqueue.mail.message_json import put_together, replaced

MESSAGE = RESERVED
"""Label and e-mail type of these jobs. A subject would say too much in a dashboard."""


def message_of(arguments: Mapping[str, Any], *, apart: bool = True) -> EmailMultiAlternatives:
    """
    Return the message that a job sends, to whom it sends it.

    `apart`: what delivers it takes the recipient apart from the headers, as SMTP does. Otherwise the copy for one of
    several, which was queued while something else delivered, is addressed to that one alone. Raises AttachmentGone,
    LookupError, TypeError or ValueError for arguments that are none, or StorageUnavailable.
    """
    message = put_together(replaced(arguments["message"], lambda content: fetch(read_inline(content))))
    to = arguments["to"]
    if (is_whole(arguments) and not apart) or list(map(plain_address, message.recipients())) == [to]:
        return message
    if apart:
        # Its headers name all recipients, its envelope one.
        for name, named in (("To", message.to), ("Cc", message.cc)):
            if named:
                message.extra_headers.setdefault(name, ", ".join(named))
        message.to, message.cc, message.bcc = [], [], [to]
    else:
        named = [address for address in message.recipients() if plain_address(address) == to]
        message.to, message.cc, message.bcc = named[:1] or [to], [], []
    return message


def is_whole(arguments: Mapping[str, Any]) -> bool:
    """Return whether the job sends a message to all of its recipients, of whom `to` is the first."""
    return bool(arguments.get("whole"))


def recipients_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return whom a job sends its message to. Raises as message_of() does."""
    if not is_whole(arguments):
        return [str(arguments["to"])]
    return plain_addresses(address for name in ("to", "cc", "bcc") for address in arguments["message"].get(name, ()))


def editable_of(arguments: Mapping[str, Any] | None) -> list[str]:
    """Return what edited_job() can change. A message to several at once goes to all of them again."""
    several = is_whole(arguments or {}) and len(recipients_of(arguments or {})) > 1
    return ["priority"] if several else ["to", "priority"]


def is_built(arguments: Mapping[str, Any]) -> bool:
    """Return whether the message goes out as it was built at the call, so that no header of it changes any more."""
    return "wire" in arguments.get("message", ())


def preview_of(arguments: Mapping[str, Any]) -> EmailMultiAlternatives:
    """Return the message that a job sends, without its attachments: they may be large. Raises as message_of() does."""
    parts = {name: part for name, part in arguments["message"].items() if name not in ("attachments", "wire")}
    return message_of({**arguments, "message": parts})


def readable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's arguments for people: with the sizes of its contents instead of their bytes."""

    def sized(content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        return {"bytes": content["size"] if "file" in content else len(read_inline(content))}

    try:
        return {**arguments, "message": replaced(arguments["message"], sized)}
    except (LookupError, TypeError, ValueError):  # a dead letter may hold anything
        return dict(arguments)
