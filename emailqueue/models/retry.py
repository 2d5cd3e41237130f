"""Which job a dead letter becomes when it is retried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emailqueue.email_types import get_email_type
from emailqueue.enqueue.call import language_still_there
from emailqueue.errors import NotRetryable
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.functions import function_named
from emailqueue.jobs.job import NewJob
from emailqueue.jobs.priority import Priority
from emailqueue.mail.messages import MESSAGE, editable_of
from emailqueue.mail.prepare import edited_job
from emailqueue.schema.address import ascii_domain

if TYPE_CHECKING:
    from emailqueue.models.dead_letter import DeadLetter

EDITABLE = ("to", "context", "priority")


def changes_of(letter: DeadLetter, edits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the edits that differ from what the mail has, as they are stored. Raises NotRetryable."""
    editable = editable_of(letter.arguments) if letter.email_type == MESSAGE else EDITABLE
    if unknown := [name for name in edits if name not in editable]:
        raise NotRetryable(
            f"A retry cannot change {', '.join(map(repr, unknown))}. It can change {', '.join(editable)}."
        )
    if edits and not letter.email_type:
        raise NotRetryable(f"Dead letter {letter.pk} is no e-mail, so it can only be retried as it is.")
    wanted = {**edits, "priority": Priority.parse(edits["priority"]).value} if "priority" in edits else edits
    present = {**(letter.arguments or {}), "priority": letter.priority}
    return {name: value for name, value in wanted.items() if value != present.get(name)}


def require_runnable(letter: DeadLetter) -> None:
    """Raise NotRetryable unless the same job can run again: it is readable, and calls what an installed app offers."""
    if letter.arguments is None:
        raise NotRetryable(f"Dead letter {letter.pk} holds a job that cannot be read, so it cannot be retried.")
    if not function_named(letter.function):
        raise NotRetryable(
            f"The job calls {letter.function!r}, which no installed app offers as a job function (any more). "
            "Bring it back, then retry."
        )


def job_of(letter: DeadLetter, changes: Mapping[str, Any]) -> NewJob:
    """Return the job: without changes the same again. Raises what queue_email() raises for changes that are wrong."""
    job = _changed_job(letter, changes) if changes else _same_job(letter)
    return replace(job, dead_letter=letter.pk, cause=letter.cause)


def _changed_job(letter: DeadLetter, changes: Mapping[str, Any]) -> NewJob:
    mail: Any = {**(letter.arguments or {}), "priority": letter.priority, **changes}
    plan: Any = {"priority": mail["priority"], "attempts": letter.attempts_allowed, "backoff": letter.backoff}
    if letter.email_type == MESSAGE:
        return edited_job(letter.arguments or {}, mail.get("to"), **plan)
    email_type, language = get_email_type(letter.email_type), language_still_there(mail.get("language"))
    return email_type.job(mail.get("to"), mail.get("context"), language=language, **plan)


def _same_job(letter: DeadLetter) -> NewJob:
    return NewJob(
        id=letter.job_id,
        queue=letter.queue,
        function=letter.function,
        arguments=letter.arguments or {},
        attempts=letter.attempts_allowed,
        backoff=Backoff.parse(letter.backoff),
        label=letter.label,
        domain=ascii_domain(letter.recipient),
    )
