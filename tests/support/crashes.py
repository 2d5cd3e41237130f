"""What tests that kill workers share: recipients, short leases, a database that is locked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection as database

from emailqueue import get_queue_stats
from tests.conftest import eventually

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}
SHORT_LEASES = {"DJANGO_SETTINGS_MODULE": "tests.support.short_leases"}


def addresses(count: int, name: str = "reader") -> list[str]:
    return [f"{name}-{number}@example.com" for number in range(count)]


def all_completed(count: int, *, within: float = 35) -> None:
    eventually(lambda: get_queue_stats().main.completed == count, timeout=within, every=0.05)
    stats = get_queue_stats()
    assert (stats.main.waiting, stats.main.active, stats.main.delayed, stats.dlq.count) == (0, 0, 0, 0)


@contextmanager
def locked_database() -> Iterator[None]:
    """Keep workers from writing, by a connection apart, so that this thread may still queue mails."""
    other = database.copy()
    other.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    if other.vendor == "postgresql":
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE emailqueue_deadletter")
    try:
        yield
    finally:
        other.rollback()
        other.close()
