"""The figures of one moment as lines of a terminal."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from django.utils import timezone

from emailqueue.conf import Settings
from emailqueue.flow import limit_in, outages_in, paused_in
from emailqueue.jobs.priority import QUEUES
from emailqueue.statistics.figures import COUNTED
from emailqueue.statistics.snapshot import Snapshot

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 80
COLUMNS = ("queue", "waiting", "active", "delayed", "oldest", "sent", "dead")


def screen(snapshot: Snapshot, settings: Settings, *, dead_letters: int) -> str:
    """Return one screen, at most 80 columns wide. `dead_letters`: those that are open, counted up to COUNTED."""
    lines = _lines(snapshot, settings, dead_letters=dead_letters)
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines)


def _lines(snapshot: Snapshot, settings: Settings, *, dead_letters: int) -> Iterator[str]:
    moment = timezone.localtime(datetime.fromtimestamp(snapshot.now, UTC))
    yield f"E-mail queue at {moment:%Y-%m-%d %H:%M:%S}"
    yield ""
    yield _row(COLUMNS)
    for queue in QUEUES:
        yield _row(_figures(snapshot, queue))
    yield ""
    limit = limit_in(snapshot.counts.flow, settings)
    yield f"rate     {snapshot.rate:.1f}/s in the last minute, limit {limit}"
    half, most = _span(snapshot.latency(0.5)), _span(snapshot.latency(0.95))
    yield f"latency  half within {half}, 95 % within {most} (last hour)"
    silent = len(snapshot.workers) - len(snapshot.alive)
    yield f"workers  {len(snapshot.alive)} alive" + (f", {silent} silent" if silent else "")
    number = f"more than {COUNTED:,}" if dead_letters > COUNTED else f"{dead_letters:,}"
    yield f"open     {number} dead letters"
    yield from (f"notice   {notice}" for notice in _notices(snapshot))
    yield ""
    for name in ("sent", "retried", "dead"):
        values = [getattr(period, name) for period in snapshot.minutes]
        yield f"{name:8} {bars(values)} {sum(values):,}"
    yield f"{'':8} {'the last hour, a minute each':^{len(snapshot.minutes)}}"


def _figures(snapshot: Snapshot, queue: str) -> list[str]:
    figures = snapshot.counts.of(queue)
    now = [f"{number:,}" for number in (figures.waiting, figures.active, figures.delayed)]
    return [queue, *now, _span(snapshot.oldest[queue]), f"{figures.completed:,}", f"{figures.failed:,}"]


def _row(cells: Sequence[str]) -> str:
    return f"{cells[0]:9}" + "".join(f"{cell:>11}" for cell in cells[1:])


def _notices(snapshot: Snapshot) -> Iterator[str]:
    flow = snapshot.counts.flow
    if snapshot.suspended:
        yield "RQ's suspension holds all workers back"
    if paused := paused_in(flow):
        yield f"paused: {', '.join(paused)}"
    for server, since in outages_in(flow).items():
        yield f"mail server {server} is away since {timezone.localtime(since):%H:%M:%S}"
    if throttled := list(snapshot.counts.throttled):
        yield f"{len(throttled)} domains are throttled: {', '.join(throttled[:3])}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def bars(values: Sequence[int]) -> str:
    """Return a character for each value, as high as the value is beside the highest; what is not nothing is seen."""
    top = max(values, default=0)
    return "".join(BARS[-(-8 * value // top)] if value else BARS[0] for value in values)
