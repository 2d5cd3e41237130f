"""Asks for the fences of all threads of a worker together."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from redis import RedisError

from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.job import Job
from emailqueue.store import Store


class FenceUnanswered(RedisUnavailable):
    """Redis did not say whether the lease is still ours, so nothing may be sent."""


@dataclass(slots=True)
class _Question:
    job: Job
    answered: threading.Event = field(default_factory=threading.Event)
    granted: bool = False
    error: Exception | None = None


class Fencer(threading.Thread):
    """While one call is under way the next questions gather: one call per mail would halve the rate."""

    def __init__(self, store: Store) -> None:
        super().__init__(name="fencer", daemon=True)
        self._store = store
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()

    def ask(self, job: Job) -> bool:
        """
        Mark `job` as about to be sent; False when its lease is lost.

        Blocks the calling thread for a round trip. Raises FenceUnanswered when Redis does not answer: then the
        mail must not be sent.
        """
        question = _Question(job)
        self._questions.put(question)
        question.answered.wait()
        if question.error is not None:
            raise FenceUnanswered(f"Redis did not answer: {question.error}") from question.error
        return question.granted

    def stop(self) -> None:
        """End the thread after the questions that were asked before."""
        self._questions.put(None)

    def run(self) -> None:
        """Answer questions until stopped."""
        while (first := self._questions.get()) is not None:
            batch = [first]
            try:
                while (question := self._questions.get_nowait()) is not None:
                    batch.append(question)
                self.stop()  # the stop came in between: take it up in the next round
            except Empty:
                pass
            self._answer(batch)

    def _answer(self, batch: list[_Question]) -> None:
        try:
            granted = self._store.fence([question.job for question in batch])
        except (RedisError, OSError) as error:
            for question in batch:
                question.error = error
        else:
            for question, yes in zip(batch, granted, strict=True):
                question.granted = yes
        for question in batch:
            question.answered.set()
