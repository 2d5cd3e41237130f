"""Finds what the docs name in Python: `queue_email`, `DeadLetter.retry`, `flow.pause`, `Backoff`."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

HOMES = (
    "emailqueue",
    "emailqueue.events",
    "events",
    "emailqueue.models",
    "emailqueue.worker",
    "emailqueue.backends",
    "emailqueue.redis",
)
"""Modules whose names the docs use without the module."""


def find(dotted: str) -> Any:
    """Return what a name in the docs means. Raises LookupError."""
    first, *rest = dotted.split(".")
    for home in HOMES:
        if hasattr(import_module(home), first):
            return _member(getattr(import_module(home), first), rest, dotted)
    for package in ("", "emailqueue.", "emailqueue.events.", "events."):
        try:
            return _walk(f"{package}{dotted}")
        except ImportError:
            continue
    raise LookupError(f"The docs name {dotted!r}, which does not exist.")


def signature_of(found: Any) -> inspect.Signature:
    """Return how it is called, without self."""
    signature = inspect.signature(found)
    named = [parameter for name, parameter in signature.parameters.items() if name not in ("self", "cls")]
    return signature.replace(parameters=named)


def _walk(dotted: str) -> Any:
    module, _dot, name = dotted.rpartition(".")
    if not module:
        return import_module(dotted)
    try:
        return getattr(import_module(module), name)
    except AttributeError:
        return import_module(dotted)
    except ModuleNotFoundError:
        return getattr(_walk(module), name)


def _member(value: Any, names: list[str], dotted: str) -> Any:
    for name in names:
        if not hasattr(value, name):
            raise LookupError(f"The docs name {dotted!r}, which does not exist.")
        value = getattr(value, name)
    return value
