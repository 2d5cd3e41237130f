"""Who may do what to dead letters: each action needs a permission of its own, and all need the one to view."""

from __future__ import annotations

from typing import Any


def may(user: Any, permission: str) -> bool:
    """Return whether `user` may view dead letters and has `permission`: view, view_body, retry, discard or export."""
    permissions = ("emailqueue.view_deadletter", f"emailqueue.{permission}_deadletter")
    return bool(user.is_active and user.has_perms(permissions))
