"""How long a mail waits before it is tried again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from emailqueue.errors import InvalidBackoff

_dice = random.Random()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """
    The waits between the attempts of one job.

    Raises InvalidBackoff when a value makes no sense.
    """

    type: Literal["exponential", "fixed"] = "exponential"
    """exponential: delay · 2^(n-1) after the n-th attempt; fixed: always delay."""

    delay: float = 2.0
    """Wait after the first attempt, in seconds."""

    jitter: float = 0.0
    """Share of the wait, 0 to 1, that chance adds or takes away, so that retries spread out."""

    max_delay: float = 3600.0
    """Upper bound of any single wait, in seconds."""

    def __post_init__(self) -> None:
        if self.type not in ("exponential", "fixed"):
            raise InvalidBackoff(f"Backoff type {self.type!r} is unknown. Use 'exponential' or 'fixed'.")
        for name in ("delay", "jitter", "max_delay"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InvalidBackoff(f"Backoff {name} is {value!r}. Use a number of 0 or more.")
        if self.jitter > 1:
            raise InvalidBackoff(f"Backoff jitter is {self.jitter!r}. Use a share from 0 to 1.")

    @classmethod
    def parse(cls, value: Backoff | Mapping[str, Any]) -> Backoff:
        """Return `value` as a Backoff; a mapping holds the fields. Raises InvalidBackoff otherwise."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InvalidBackoff(f"{value!r} is not a backoff. Use Backoff(type='exponential', delay=2.0).")
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(map(str, value)) - set(known))
        if unknown:
            raise InvalidBackoff(f"Backoff has no {', '.join(map(repr, unknown))}. It has {', '.join(known)}.")
        return cls(**value)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they are stored in a job."""
        return asdict(self)

    def wait(self, attempt: int, *, rng: random.Random | None = None) -> float:
        """Return the seconds to wait after the `attempt`-th attempt (1 is the first)."""
        growth = 2.0 ** min(attempt - 1, 60) if self.type == "exponential" else 1.0
        wait = min(self.delay * growth, self.max_delay)
        if self.jitter:
            wait *= 1 + self.jitter * (rng or _dice).uniform(-1, 1)
        return min(wait, self.max_delay)
