"""Text columns that know more in Python than in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    CharField = models.CharField[str, str]
else:
    CharField = models.CharField


class PlainField(CharField):
    """A text column that is a plain one to migrations, so that its choices may grow without one."""

    def deconstruct(self) -> Any:
        """Leave out what the database does not know."""
        name, _path, args, kwargs = super().deconstruct()
        kwargs.pop("choices", None)
        return name, "django.db.models.CharField", args, kwargs
