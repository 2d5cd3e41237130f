"""Columns that repeat others in the form in which an index finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, models
from django.db.models import Q

from emailqueue.models.plain import PlainField

KEY = 100
"""Characters of a text that can be searched."""
LAST = "\U0010ffff"
"""Sorts behind every text that begins alike."""


class DerivedField(PlainField):
    """A text column that is computed from its row whenever it is written, also in bulk; a plain one to migrations."""

    def __init__(self, *args: Any, compute: Callable[[Any], str], **kwargs: Any) -> None:
        super().__init__(*args, **{"editable": False, "blank": True, "default": "", **kwargs})
        self.compute = compute

    def clone(self) -> Any:
        """Return a copy, as Django makes them of fields."""
        _name, _path, args, kwargs = super().deconstruct()
        return type(self)(*args, compute=self.compute, **kwargs)

    def pre_save(self, model_instance: models.Model, add: Any) -> str:
        """Return what is written."""
        value = self.compute(model_instance)[: self.max_length]
        setattr(model_instance, self.attname, value)
        return value


def text_key(text: str) -> str:
    """Return the start of a text as it is searched: lower case, one space between words."""
    # Cut first: an error message may be long.
    return " ".join(text[: 4 * KEY].lower().split())[:KEY]


def domain_of(address: str) -> str:
    """Return the domain of an address, lower case; empty for what is no address."""
    return address.rpartition("@")[2].strip().lower() if "@" in address else ""


def begins(field: str, text: str, *, using: str) -> Q:
    """Return the condition that `field` begins with `text`, in the form that the database's index serves."""
    if connections[using].vendor == "sqlite":
        # LIKE ignores case there, and so every index.
        return Q(**{f"{field}__gte": text, f"{field}__lt": text + LAST})
    return Q(**{f"{field}__startswith": text})
