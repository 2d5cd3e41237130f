from __future__ import annotations

import re

import pytest

from emailqueue.statistics.plots import Line, _round_up, plot

XSS = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, 1), (1, 1), (2, 2), (7, 8), (11, 12), (99, 100), (101, 120), (1107, 1200), (10**6 + 1, 1_200_000)],
)
def test_the_axis_ends_at_a_number_that_people_like(most: int, top: int) -> None:
    assert _round_up(most) == top


def test_bars_stand_on_each_other_and_none_is_too_small_to_see() -> None:
    lines = [Line(name="sent", kind="sent", values=[1000, 0]), Line(name="dead", kind="dead", values=[1, 0])]

    svg = plot(title="Per minute", ticks=[(0, "08:00")], spans=["08:00", "08:01"], lines=lines)

    heights = [float(height) for height in re.findall(r'<rect [^>]* height="([\d.]+)"', svg)]
    assert len(heights) == 2
    assert heights[0] > 100
    assert heights[1] == 2.0
    assert 'aria-label="Per minute: sent 1000, dead 1"' in svg
    assert ">08:00</text>" in svg
    assert ">1200</text>" in svg


def test_what_a_plot_is_told_becomes_no_markup() -> None:
    line = Line(name=XSS, kind="sent", values=[1])

    svg = plot(title=XSS, ticks=[(0, XSS)], spans=[XSS], lines=[line])

    assert XSS not in svg
    assert "style=" not in svg
