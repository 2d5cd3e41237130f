"""Asks for the fences of all threads of a worker together."""

import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from redis import RedisError

from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.job import Job
from emailqueue.store import Store

Question = tuple[Job, Future[bool]]


class FenceUnanswered(RedisUnavailable):
    """Redis did not say whether the lease is still ours, so nothing may be sent."""


class Fencer(threading.Thread):
    """While one call is under way the next questions gather: one call per mail would halve the rate."""

    def __init__(self, store: Store) -> None:
        super().__init__(name="fencer", daemon=True)
        self._store = store
        self._questions: SimpleQueue[Question | None] = SimpleQueue()

    def ask(self, job: Job) -> bool:
        """
        Mark `job` as about to be sent; False when its lease is lost.

        Blocks the calling thread for a round trip. Raises FenceUnanswered when Redis does not answer: then the
        mail must not be sent.
        """
        answer: Future[bool] = Future()
        self._questions.put((job, answer))
        try:
            return answer.result()
        except (RedisError, OSError) as error:
            raise FenceUnanswered(f"Redis did not answer: {error}") from error

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

    def _answer(self, batch: list[Question]) -> None:
        try:
            granted = self._store.fence([job for job, _answer in batch])
        except (RedisError, OSError) as error:
            for _job, answer in batch:
                answer.set_exception(error)
        else:
            for (_job, answer), is_ours in zip(batch, granted, strict=True):
                answer.set_result(is_ours)
