"""What staff do to one dead letter, who may do it, and its entry in the admin's history."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import router, transaction
from django.utils.translation import gettext

from emailqueue.dead_letters.preview import is_stale
from emailqueue.errors import NotRetryable
from emailqueue.jobs.priority import Priority
from emailqueue.models import DeadLetter


def may(user: Any, permission: str) -> bool:
    """Return whether `user` may view dead letters and has `permission`: view, view_body, retry, discard or export."""
    return bool(
        user.is_active and user.has_perms(["emailqueue.view_deadletter", f"emailqueue.{permission}_deadletter"])
    )


def retry(letter: DeadLetter, *, user_pk: Any, edits: Mapping[str, Any] | None = None, stale_too: bool = False) -> None:
    """Retry a dead letter. Raises NotRetryable for one that is out of date, too, and what DeadLetter.retry() raises."""
    if is_stale(letter) and not stale_too:
        raise NotRetryable(gettext("Dead letter %(id)s is out of date.") % {"id": letter.pk})
    with transaction.atomic(using=router.db_for_write(DeadLetter)):
        letter.retry(**(edits or {}))
        record(user_pk, _describe_retry(letter), dead_letter=letter)


def discard(letter: DeadLetter, *, user_pk: Any, reason: str) -> None:
    """Discard a dead letter. Raises NotDiscardable."""
    with transaction.atomic(using=router.db_for_write(DeadLetter)):
        letter.discard(reason)
        record(user_pk, gettext("Discarded: %(reason)s") % {"reason": reason}, dead_letter=letter)


ACTIONS: Mapping[str, Callable[..., None]] = {"retry": retry, "discard": discard}
"""By their permission. Each takes a dead letter, `user_pk` and options; one that raises has changed nothing."""


def record(user_pk: Any, message: str, *, dead_letter: DeadLetter | None = None, about: str = "") -> None:
    """Write an entry of the admin's history, for a dead letter or for something that concerns many."""
    # Imported late: a project's worker may live without the admin.
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType

    LogEntry.objects.create(
        user_id=user_pk,
        content_type=ContentType.objects.get_for_model(DeadLetter),
        object_id=dead_letter.pk if dead_letter else None,
        object_repr=(str(dead_letter) if dead_letter else about)[:200],
        action_flag=CHANGE,
        change_message=message,
    )


def _describe_retry(letter: DeadLetter) -> str:
    """Return what a retry changed. Of the context only the names: its values are the mail's content."""
    arguments, edits, changes = letter.arguments or {}, letter.edits, []
    if "to" in edits:
        changes.append(gettext("recipient %(old)s → %(new)s") % {"old": arguments.get("to"), "new": edits["to"]})
    if "priority" in edits:
        new_priority = Priority(edits["priority"]).name.lower()
        priorities = {"old": letter.get_priority_display() or "-", "new": new_priority}
        changes.append(gettext("priority %(old)s → %(new)s") % priorities)
    if "context" in edits:
        old, new = (value if isinstance(value, dict) else {} for value in (arguments.get("context"), edits["context"]))
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        changes.append(gettext("context: %(names)s") % {"names": ", ".join(names)})
    if not changes:
        return gettext("Retried.")
    return gettext("Retried with edits: %(changes)s.") % {"changes": "; ".join(changes)}
