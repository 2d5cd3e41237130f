from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailqueue import Backoff
from emailqueue.errors import EmailQueueError, InvalidBackoff

backoffs = st.builds(
    Backoff,
    type=st.sampled_from(["exponential", "fixed"]),
    delay=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    max_delay=st.floats(0, 1e6),
)


def test_waits_double_from_two_seconds_by_default() -> None:
    waits = [Backoff().wait(attempt) for attempt in (1, 2, 3, 4)]

    assert waits == [2, 4, 8, 16]


def test_fixed_waits_stay_the_same() -> None:
    backoff = Backoff(type="fixed", delay=0.2)

    waits = [backoff.wait(attempt) for attempt in (1, 2, 50)]

    assert waits == [0.2, 0.2, 0.2]


@given(backoff=backoffs, attempt=st.integers(1, 10_000), seed=st.integers())
def test_no_wait_is_negative_or_longer_than_the_maximum(backoff: Backoff, attempt: int, seed: int) -> None:
    wait = backoff.wait(attempt, rng=random.Random(seed))

    assert 0 <= wait <= backoff.max_delay


@given(backoff=backoffs, attempt=st.integers(1, 100), seed=st.integers())
def test_jitter_takes_away_its_share_at_most(backoff: Backoff, attempt: int, seed: int) -> None:
    plain = Backoff(type=backoff.type, delay=backoff.delay, max_delay=backoff.max_delay).wait(attempt)

    wait = backoff.wait(attempt, rng=random.Random(seed))

    assert wait >= plain * (1 - backoff.jitter) - 1e-6


@given(backoff=backoffs, attempt=st.integers(1, 100))
def test_without_jitter_waits_never_shrink(backoff: Backoff, attempt: int) -> None:
    calm = Backoff(type=backoff.type, delay=backoff.delay, max_delay=backoff.max_delay)

    first, second = calm.wait(attempt), calm.wait(attempt + 1)

    assert first <= second


def test_jitter_spreads_waits_in_both_directions() -> None:
    dice = random.Random(1)

    waits = [Backoff(jitter=0.5).wait(1, rng=dice) for _ in range(100)]

    assert 1 <= min(waits) < 1.2
    assert 2.8 < max(waits) <= 3


def test_without_dice_of_its_own_jitter_still_spreads() -> None:
    waits = {Backoff(jitter=0.5).wait(1) for _ in range(10)}

    assert len(waits) > 1


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "linear"},
        {"delay": -1},
        {"delay": "2"},
        {"delay": True},
        {"delay": math.nan},
        {"max_delay": math.inf},
        {"jitter": 1.1},
        {"jitter": None},
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_the_value(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidBackoff) as refusal:
        Backoff(**fields)

    assert repr(*fields.values()) in str(refusal.value)
    assert isinstance(refusal.value, EmailQueueError)
    assert isinstance(refusal.value, ValueError)


def test_a_mapping_holds_the_fields() -> None:
    backoff = Backoff.parse({"type": "fixed", "delay": 5})

    assert backoff == Backoff(type="fixed", delay=5)
    assert Backoff.parse(backoff) is backoff
    assert Backoff.parse(backoff.as_json()) == backoff


@pytest.mark.parametrize("value", [3, "fixed", ["fixed"], {"factor": 2}, {1: 2}])
def test_what_is_no_backoff_is_refused(value: Any) -> None:
    with pytest.raises(InvalidBackoff):
        Backoff.parse(value)
