"""When a mail counts as queued in a test whose transaction never commits."""

from collections.abc import Callable
from typing import Any

from django.db import connections

from emailqueue.enqueue import submit

Hook = Callable[[], object]


class Commits:
    """
    Does what emailqueue has put off until the commit, where that is the commit of a TestCase.

    What a savepoint has rolled back is forgotten, and what an atomic block has queued that is still open waits, as in
    production. Functions that a project has given to transaction.on_commit() are left alone: Django's
    captureOnCommitCallbacks() runs these.
    """

    def __init__(self) -> None:
        self._coming = False

    def begin(self) -> None:
        """Leave alone what was put off before: it belongs to no test, or to another queue."""
        _done[:] = [hook for connection in connections.all(initialized_only=True) for hook, _ in _put_off(connection)]

    def come(self) -> None:
        """Do what would be done if the transactions of the test case committed now."""
        if self._coming:  # a hook asks for the connection, which asks for this
            return
        self._coming = True
        try:
            for connection in connections.all(initialized_only=True):
                for hook in _committed(connection):
                    _done.append(hook)
                    hook()
        finally:
            self._coming = False


def _committed(connection: Any) -> list[Hook]:
    blocks = connection.atomic_blocks
    if not (blocks and blocks[0]._from_testcase):  # noqa: SLF001  as transaction.Atomic itself asks it
        return []
    still_open = sum(not block._from_testcase for block in blocks)  # noqa: SLF001
    # None stands for a block without a savepoint: what it has queued belongs to the one around it.
    open_savepoints = {*connection.savepoint_ids[len(connection.savepoint_ids) - still_open :]} - {None}
    return [hook for hook, within in _put_off(connection) if hook not in _done and not within & open_savepoints]


def _put_off(connection: Any) -> list[tuple[Hook, set[str]]]:
    """Return what emailqueue has put off until the commit, each with the savepoints around it."""
    return [(hook, within) for within, hook, _robust in connection.run_on_commit if hook.__module__ == submit.__name__]


# Kept, and not taken off Django's list, of which captureOnCommitCallbacks() remembers positions.
_done: list[Hook] = []
