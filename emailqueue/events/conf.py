"""The only module that reads Django's settings for the event bus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The dict EVENTS, checked. Each field is a key of that dict in upper case."""

    trail: int = 24 * 60 * 60
    """Seconds that Redis keeps the trail of an event: who took it in, and what was queued for it; 0 keeps none."""


@cache
def get_settings() -> Settings:
    """
    Return EVENTS as one frozen value.

    Raises ImproperlyConfigured with a sentence that says what to write instead.
    """
    given = getattr(django_settings, "EVENTS", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"EVENTS is {given!r}. Use a dict, for example {{'TRAIL': 86400}}.")
    known = {entry.name.upper() for entry in fields(Settings)}
    if unknown := [key for key in given if key not in known]:
        raise ImproperlyConfigured(
            f"EVENTS has no key {', '.join(map(repr, unknown))}. Its keys are {', '.join(sorted(known))}."
        )
    return Settings(**{key.lower(): _seconds(key, value) for key, value in given.items()})


def _seconds(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise ImproperlyConfigured(f"EVENTS[{key!r}] is {value!r}. Use whole seconds, for example 86400; 0 keeps none.")
    return value


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "EVENTS":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="emailqueue.events.conf")
