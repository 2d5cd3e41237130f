"""Which jobs one of Django's messages becomes: when it is queued, and when its recipient changes later."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formataddr, formatdate, parseaddr
from typing import Any

from django.conf import settings as django_settings
from django.core.mail import EmailMessage
from django.utils.encoding import punycode

from emailqueue.conf import get_settings
from emailqueue.enqueue.call import Options
from emailqueue.enqueue.staging import fresh_id
from emailqueue.errors import InvalidMessage
from emailqueue.jobs.functions import DELIVER_MESSAGE
from emailqueue.jobs.job import NewJob
from emailqueue.jobs.priority import Priority
from emailqueue.mail.address import plain_address, plain_addresses
from emailqueue.mail.attachments import INLINE, KeptFiles, keep
from emailqueue.mail.content import as_bytes, inline
from emailqueue.mail.message_json import Parts, builds_itself, replaced, size_of, take_apart
from emailqueue.mail.messages import MESSAGE, recipients_of
from emailqueue.mail.rendering import message_id
from emailqueue.schema.address import valid_address

PRIORITY = "x-queue-priority"
"""Header that says the priority and is not sent."""
X_PRIORITY = {"1": Priority.HIGH, "2": Priority.HIGH, "3": Priority.NORMAL, "4": Priority.LOW, "5": Priority.LOW}
"""What the header means that mail clients show, and that is sent. CRITICAL is for who says so."""
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A message that was found to be in order, and of which nothing is stored yet."""

    id: str
    parts: Parts
    recipients: Sequence[str]
    """Plain addresses, each once."""

    apart: bool
    """Whether each of them has a job of its own. Otherwise one job sends the whole message."""

    priority: Priority

    def jobs(self, *, most: float = INLINE) -> list[NewJob]:
        """
        Return the jobs. Raises StorageUnavailable.

        `most`: bytes of contents that they carry in all; when it is more, the contents lie in the storage.
        """
        size = size_of(self.parts) * (len(self.recipients) if self.apart else 1)
        files: list[str] = []

        def put(content: Any) -> Any:
            if isinstance(content, str) and len(content) > most:
                content = content.encode()
            elif size <= most or not isinstance(content, bytes):
                return inline(content)
            entry = keep(content, message=self.id)
            files.append(entry["file"])
            return entry

        calls = self._calls(replaced(self.parts, put))
        jobs = [message_job(arguments, job_id=job_id, priority=self.priority) for job_id, arguments in calls]
        if files:
            KeptFiles.objects.note([job.id for job in jobs], message=self.id, names=files)
        return jobs

    def _calls(self, message: Parts) -> list[tuple[str, dict[str, Any]]]:
        """Return the ids of the jobs and their arguments."""
        first, *others = ({"to": to, "message": message} for to in self.recipients)
        if not self.apart:
            return [(self.id, {**first, "whole": True})]
        if not others:
            return [(self.id, first)]
        return [(fresh_id(None, {**call, "message": self.id}), call) for call in (first, *others)]


def prepare(message: EmailMessage, *, priority: Priority | None = None, apart: bool = True) -> Prepared:
    """
    Check a message as Django does when it sends one, and say what its jobs will be.

    `priority`: unless its headers say another. `apart`: one job a recipient; otherwise one for all of them. Raises
    what Django raises for its headers (ValueError, of which BadHeaderError is one), InvalidAddress, InvalidMessage
    or InvalidPriority.
    """
    message = copy.copy(message)  # the caller's may be sent again
    given = {str(name).lower(): str(value) for name, value in message.extra_headers.items()}
    message.extra_headers = {name: value for name, value in message.extra_headers.items() if name.lower() != PRIORITY}
    parts = take_apart(message)
    digests = replaced(parts, lambda part: hashlib.sha256(part).hexdigest() if isinstance(part, bytes) else part)
    job_id = fresh_id(None, {"message": digests})
    if "date" not in given:
        # RFC 5322, section 3.6.1: when the user has queued the message, not when it is transmitted.
        message.extra_headers["Date"] = formatdate(localtime=django_settings.EMAIL_USE_LOCALTIME)
    if "message-id" not in given:
        message.extra_headers["Message-ID"] = message_id(job_id)
    parts["headers"] = [[str(name), str(value)] for name, value in message.extra_headers.items()]
    built = message.message()
    if builds_itself(message):
        parts["wire"] = as_bytes(built)
        parts.pop("attachments", None)
    _require_storable(parts)
    plain_address(message.from_email)
    return Prepared(
        id=job_id,
        parts=parts,
        recipients=plain_addresses(message.recipients()),
        apart=apart,
        priority=_priority(given) or priority or get_settings().backend_priority,
    )


def message_job(arguments: Mapping[str, Any], *, job_id: str, **options: Any) -> NewJob:
    """Return the job that calls deliver_message. `options`: see Options.parse()."""
    call = Options.parse(default=get_settings().backend_priority, **options)
    return call.job_of(DELIVER_MESSAGE, arguments, job_id=job_id, label=MESSAGE)


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


def _priority(headers: Mapping[str, str]) -> Priority | None:
    if PRIORITY in headers:
        value = headers[PRIORITY].strip()
        return Priority.parse(int(value) if value.isdecimal() else value)
    return X_PRIORITY.get(headers.get("x-priority", "").strip()[:1])


def _require_storable(parts: Parts) -> None:
    try:
        texts = replaced(parts, lambda part: "" if isinstance(part, bytes) else part)
        text = json.dumps(texts, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise InvalidMessage(f"The message cannot be queued: {error}.") from error
    if NUL.search(text):
        raise InvalidMessage("A header of the message holds a NUL character, which mail servers and databases refuse.")


def _readdressed(parts: Mapping[str, Any], old: str, new: str) -> Parts:
    def readdressed(address: str) -> str:
        title, plain = parseaddr(address)
        return formataddr((title, new)) if plain == old else address

    return {**parts, **{name: [*map(readdressed, parts.get(name, ()))] for name in ("to", "cc", "bcc")}}
