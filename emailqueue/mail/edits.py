"""Which job a message becomes that was queued before: for another recipient, or for one of several."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formataddr, parseaddr
from typing import Any

from django.utils.encoding import punycode

from emailqueue.enqueue.staging import fresh_id
from emailqueue.jobs.job import NewJob
from emailqueue.jobs.priority import Priority
from emailqueue.mail.message_json import Parts
from emailqueue.mail.messages import is_whole, recipients_of
from emailqueue.mail.prepare import message_job
from emailqueue.schema.address import valid_address


def editable_of(arguments: Mapping[str, Any] | None) -> list[str]:
    """Return what edited_job() can change. A message to several at once goes to all of them again."""
    several = is_whole(arguments or {}) and len(recipients_of(arguments or {})) > 1
    return ["priority"] if several else ["to", "priority"]


def is_built(arguments: Mapping[str, Any]) -> bool:
    """Return whether the message goes out as it was built at the call, so that no header of it changes any more."""
    return "wire" in arguments.get("message", ())


def edited_job(arguments: Mapping[str, Any], to: Any, **options: Any) -> NewJob:
    """
    Return the job of the same message for a recipient who may be another. Raises InvalidAddress or InvalidPriority.

    The new address takes the place of the old one in the headers. Date and Message-ID stay: it is the same message.
    `options`: see Options.parse().
    """
    if to != arguments["to"]:
        local, _at, domain = valid_address(to).rpartition("@")
        new = f"{local}@{punycode(domain)}"  # formataddr() takes ASCII only
        arguments = {**arguments, "to": new, "message": _readdressed(arguments["message"], arguments["to"], new)}
    return message_job(arguments, job_id=fresh_id(None, arguments), **options)


def split(arguments: Mapping[str, Any], *, priority: Priority | None) -> list[NewJob]:
    """Return the jobs, one a recipient, of a message that was queued as a whole."""
    return [
        edited_job({"to": to, "message": arguments["message"]}, to, priority=priority)
        for to in recipients_of(arguments)
    ]


def _readdressed(parts: Mapping[str, Any], old: str, new: str) -> Parts:
    def readdressed(address: str) -> str:
        title, plain = parseaddr(address)
        return formataddr((title, new)) if plain == old else address

    return {**parts, **{name: [*map(readdressed, parts.get(name, ()))] for name in ("to", "cc", "bcc")}}
