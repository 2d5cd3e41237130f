"""How series of figures are drawn: as SVG inside the page, coloured by the style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 10, 24
LEAST = 2.0
"""Height of a bar that is not nothing: one dead mail beside thousands must be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series of a plot."""

    name: str
    kind: str
    """The style sheet's name for its colour: sent, retried, dead."""

    values: Sequence[int]


def plot(*, title: str, ticks: Sequence[tuple[int, str]], spans: Sequence[str], lines: Sequence[Line]) -> SafeString:
    """
    Draw bars, the lines of one span on top of each other.

    `ticks`: which spans have a label below them; `spans`: what each span is called on hover.
    """
    top = _round_up(max((sum(values) for values in zip(*(line.values for line in lines), strict=True)), default=0))
    return format_html(
        '<svg class="eq-plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        WIDTH,
        HEIGHT,
        f"{title}: " + ", ".join(f"{line.name} {number_format(sum(line.values))}" for line in lines),
        _scale(top),
        _ticks(ticks, len(spans)),
        _bars(spans, lines, top),
    )


def _scale(top: int) -> SafeString:
    steps = [0, top // 2, top] if top % 2 == 0 else [0, top]
    return format_html_join(
        "",
        '<line class="eq-grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (LEFT, WIDTH - RIGHT, _y(step, top), _y(step, top), LEFT - 6, _y(step, top, shift=4), number_format(step))
            for step in steps
        ),
    )


def _ticks(ticks: Sequence[tuple[int, str]], count: int) -> SafeString:
    width = (WIDTH - LEFT - RIGHT) / max(1, count)
    return format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        ((f"{LEFT + (index + 0.5) * width:.1f}", HEIGHT - 6, label) for index, label in ticks),
    )


def _bars(spans: Sequence[str], lines: Sequence[Line], top: int) -> SafeString:
    width = (WIDTH - LEFT - RIGHT) / max(1, len(spans))
    bars = []
    for index, span in enumerate(spans):
        bottom = float(HEIGHT - BOTTOM)
        for line in lines:
            value = line.values[index]
            if value:
                height = max(LEAST, (HEIGHT - TOP - BOTTOM) * value / top)
                bottom -= height
                x = f"{LEFT + index * width + 0.5:.1f}"
                shape = (f"{width - 1:.1f}", f"{height:.1f}", f"{span}: {number_format(value)} {line.name}")
                bars.append((line.kind, x, f"{bottom:.1f}", *shape))
    return format_html_join(
        "", '<rect class="eq-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', bars
    )


def _y(value: int, top: int, *, shift: int = 0) -> str:
    return f"{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / max(1, top) + shift:.1f}"


def _round_up(value: int) -> int:
    """Return the next number that people like, and whose half is whole, too."""
    power = 1
    while power * 10 <= value:
        power *= 10
    return next(int(step * power) for step in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)
