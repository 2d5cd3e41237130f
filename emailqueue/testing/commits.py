"""When a mail counts as queued in a test whose transaction never commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections

from emailqueue import submit


class Commits:
    """
    Does what emailqueue has put off until the commit, where that is the commit of a TestCase.

    What a savepoint has rolled back is forgotten, and what an atomic block has queued that is still open waits, as in
    production. Functions that a project has given to transaction.on_commit() are left alone: Django's
    captureOnCommitCallbacks() runs these.
    """

    def __init__(self) -> None:
        # Kept, and not taken off Django's list, of which captureOnCommitCallbacks() remembers positions.
        self._done: list[Callable[[], object]] = []

    def come(self) -> None:
        """Do what would be done if the transactions of the test case committed now."""
        for connection in connections.all(initialized_only=True):
            for hook in self._ours(connection):
                self._done.append(hook)
                hook()

    def _ours(self, connection: Any) -> list[Callable[[], object]]:
        blocks = connection.atomic_blocks
        if not (blocks and blocks[0]._from_testcase):  # noqa: SLF001  as transaction.Atomic itself asks it
            return []
        still_open = sum(not block._from_testcase for block in blocks)  # noqa: SLF001
        open_savepoints = set(connection.savepoint_ids[len(connection.savepoint_ids) - still_open :])
        return [
            hook
            for savepoints, hook, _robust in connection.run_on_commit
            if hook.__module__ == submit.__name__ and hook not in self._done and not savepoints & open_savepoints
        ]
