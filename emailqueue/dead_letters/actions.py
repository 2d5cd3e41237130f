"""What staff do to one letter, with its entry in the admin's history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import router, transaction
from django.utils.translation import gettext

from emailqueue.jobs.priority import Priority
from emailqueue.models import DeadLetter


def retry(letter: DeadLetter, *, user_pk: Any, edits: Mapping[str, Any] | None = None) -> str:
    """Retry the letter and return the job's id. Raises what DeadLetter.retry() raises; then nothing is written."""
    before = {**(letter.arguments or {}), "priority": letter.priority}
    with transaction.atomic(using=router.db_for_write(DeadLetter)):
        job_id = letter.retry(**(edits or {}))
        record(user_pk, _retried(before, letter.edits), letter=letter)
    return job_id


def discard(letter: DeadLetter, *, user_pk: Any, reason: str) -> None:
    """Discard the letter. Raises NotDiscardable; then nothing is written."""
    with transaction.atomic(using=router.db_for_write(DeadLetter)):
        letter.discard(reason)
        record(user_pk, gettext("Discarded: %(reason)s") % {"reason": reason}, letter=letter)


def record(user_pk: Any, message: str, *, letter: DeadLetter | None = None, about: str = "") -> None:
    """Write an entry of the admin's history, for a letter or for something that concerns many."""
    # Imported late: a project's worker may live without the admin.
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType

    LogEntry.objects.create(
        user_id=user_pk,
        content_type=ContentType.objects.get_for_model(DeadLetter),
        object_id=letter.pk if letter else None,
        object_repr=(str(letter) if letter else about)[:200],
        action_flag=CHANGE,
        change_message=message,
    )


def _retried(before: Mapping[str, Any], edits: Mapping[str, Any]) -> str:
    """Return what a retry changed. Of the context only the names: its values are the mail's content."""
    changes = []
    if "to" in edits:
        changes.append(gettext("recipient %(old)s → %(new)s") % {"old": before.get("to"), "new": edits["to"]})
    if "priority" in edits:
        priorities = {"old": _priority(before["priority"]), "new": _priority(edits["priority"])}
        changes.append(gettext("priority %(old)s → %(new)s") % priorities)
    if "context" in edits:
        old, new = (value if isinstance(value, dict) else {} for value in (before.get("context"), edits["context"]))
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        changes.append(gettext("context: %(names)s") % {"names": ", ".join(names)})
    if not changes:
        return gettext("Retried.")
    return gettext("Retried with edits: %(changes)s.") % {"changes": "; ".join(changes)}


def _priority(number: int | None) -> str:
    return Priority(number).name.lower() if number in list(Priority) else "-"
