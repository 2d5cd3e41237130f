"""Show or change how many mails all workers together send in a time."""

from typing import Any

from emailqueue import flow
from emailqueue.conf import get_settings

ARGUMENTS = {
    "rate": {
        "nargs": "?",
        "help": "20/s, 600/m, 0 for no limit, or default for that of EMAIL_QUEUE; left out: show it",
    },
    "--burst": {"type": int, "help": "mails that may go out at once after a pause; 1 is strict"},
}


def run(*, rate: str | None, burst: int | None, **options: Any) -> str:
    if rate is None and burst is not None:
        rate = f"{flow.current_limit().rate:.9f}/s"
    if rate is None:
        limit = flow.current_limit()
    else:
        limit = flow.reset_limit() if rate == "default" else flow.set_limit(rate, burst=burst)
    origin = f"set by staff; EMAIL_QUEUE says {flow.limit_in({}, get_settings())}" if limit.set_by_staff else "default"
    return f"{limit} ({origin})"
