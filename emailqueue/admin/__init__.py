"""All pages of staff; importing it registers them."""

from emailqueue.admin import bulk_actions, dead_letters, events, outbox, subscriptions

__all__ = ["bulk_actions", "dead_letters", "events", "outbox", "subscriptions"]
