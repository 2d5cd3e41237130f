"""Columns whose choices may grow without a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    CharField = models.CharField[str, str]
else:
    CharField = models.CharField


class ChoiceField(CharField):
    """A text column with choices; a plain one to migrations."""

    def deconstruct(self) -> Any:
        """Leave the choices out: the database does not know them."""
        name, _path, args, kwargs = super().deconstruct()
        kwargs.pop("choices", None)
        return name, "django.db.models.CharField", args, kwargs
