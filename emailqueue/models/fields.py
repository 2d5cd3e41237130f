"""Text columns that know more in Python than in the database."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import connections, models
from django.db.models import Q

if TYPE_CHECKING:
    CharField = models.CharField[str, str]
else:
    CharField = models.CharField

KEY = 100
"""Characters of a text that can be searched."""
LAST = "\U0010ffff"
"""Sorts behind every text that begins alike."""


class PlainField(CharField):
    """A text column that is a plain one to migrations, so that its choices may grow without one."""

    def deconstruct(self) -> Any:
        """Leave out what the database does not know."""
        name, _path, args, kwargs = super().deconstruct()
        kwargs.pop("choices", None)
        return name, "django.db.models.CharField", args, kwargs


class DerivedField(PlainField):
    """
    A text column that repeats another in the form in which an index finds it.

    It is computed from its row whenever that is written, also in bulk.
    """

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
