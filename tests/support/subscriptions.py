"""The subscription of one reader, and a database router that reads elsewhere."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from emailqueue.models import Subscription

ADA = "Ada@Example.com"
KEY = "ada@example.com"
JOIN = {"user_name": "Ada"}


def subscribe(address: str = ADA) -> Subscription:
    return Subscription.objects.of(address, "newsletter")


class Replica:
    """A router of a project whose reads go to a server that lags behind, here for ever."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return "replica" if model is Subscription else None
