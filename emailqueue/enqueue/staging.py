"""What a running job queues: kept back until it has succeeded, and under ids that are the same when it runs again."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from emailqueue.conf import get_settings
from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.jobs.job import NewJob, new_id
from emailqueue.jobs.outcome import Staged
from emailqueue.store import Store, staging_key


class Staging:
    """The jobs that one run of a job has queued so far."""

    def __init__(self, run_id: str) -> None:
        self.jobs: list[NewJob] = []
        self.cause = run_id
        """Id that these jobs name as what led to them; an event's subscriber puts the event here."""
        self._run_id = run_id
        self._seen: Counter[bytes] = Counter()
        self._ended = False

    def add(self, jobs: Sequence[NewJob]) -> None:
        """Keep jobs back. Raises RuntimeError when the run has ended, for example in a thread that outlived it."""
        if self._ended:
            raise RuntimeError(f"Job {self._run_id} has ended, so it can queue no e-mail and no event any more.")
        self.jobs += [replace(job, cause=self.cause) for job in jobs]

    def store(self, store: Store) -> Staged | None:
        """
        Store the jobs, ready to become visible when the job that has queued them is settled.

        With EMAIL_QUEUE["OUTBOX"] "always" their rows come first: from then on they are looked after, although that job
        may run again. It makes no other jobs then, since their ids are the same.
        """
        if not self.jobs:
            return None
        if get_settings().outbox == "always":
            OutboxRow.objects.keep(self.jobs)
        key = staging_key()
        return Staged(key=key, count=store.stage(key, self.jobs))

    def id_of(self, content: Mapping[str, Any]) -> str:
        """Return the id of a job with that content: the same one, at the same count, in each run."""
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
        self._seen[digest] += 1
        return new_id(f"staged:{self._run_id}:{digest.hex()}:{self._seen[digest]}")

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Make this the staging of all that is queued within, also in async functions that are awaited."""
        before = present_staging.set(self)
        try:
            yield
        finally:
            present_staging.reset(before)
            self._ended = True


present_staging: ContextVar[Staging | None] = ContextVar("emailqueue.enqueue.staging", default=None)
"""The staging of the job that runs here; None outside of a worker's job."""


def fresh_id(idempotency_key: str | None, content: Mapping[str, Any]) -> str:
    """Return the id of a job to be: from its key, from its content within a job that runs, or a new one."""
    staging = present_staging.get()
    if idempotency_key is None and staging is not None:
        return staging.id_of(content)
    return new_id(idempotency_key)
