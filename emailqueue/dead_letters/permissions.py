"""Who may do what to dead letters: each verb wants its own permission, and all want the one to view."""

from __future__ import annotations

from typing import Any

VERBS = ("retry", "discard", "export", "view_body")


def may(user: Any, verb: str) -> bool:
    """Return whether `user` may do `verb`: view, view_body, retry, discard or export."""
    viewer = user.is_active and user.has_perm("emailqueue.view_deadletter")
    return bool(viewer and (verb == "view" or user.has_perm(f"emailqueue.{verb}_deadletter")))


def may_control(user: Any) -> bool:
    """Return whether `user` may pause queues and set the limit."""
    return bool(user.is_active and user.has_perm("emailqueue.control_queues"))
