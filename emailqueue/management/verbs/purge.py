"""Delete dead letters that were closed long ago."""

from typing import Any

from emailqueue.housekeeping import retention

ARGUMENTS = {
    "--older-than": {"default": "90d", "metavar": "AGE", "help": "since they were closed: 90d, 12h, 2w; default: 90d"}
}


def run(*, older_than: str, **options: Any) -> str:
    purged = retention.purge(older_than=retention.age(older_than))
    return (
        f"Deleted {purged.dead_letters:,} closed dead letters with {purged.attempts:,} attempts, and "
        f"{purged.bulk_actions:,} ended bulk actions, all older than {older_than}."
    )
