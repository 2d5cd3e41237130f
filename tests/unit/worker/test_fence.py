from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
from redis import ConnectionError as RedisConnectionError

from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.job import Job
from emailqueue.store import Store
from emailqueue.worker.fence import Fencer, FenceUnanswered
from tests.conftest import eventually


class Leases:
    """Answers in the place of Redis: all jobs are ours, save the one named "lost"."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answers = threading.Event()
        self.answers.set()
        self.error: Exception | None = None

    def fence(self, jobs: Sequence[Job]) -> list[bool]:
        self.calls.append([job.id for job in jobs])
        assert self.answers.wait(10)
        if self.error:
            raise self.error
        return [job.id != "lost" for job in jobs]


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def fencer(leases: Leases) -> Iterator[Fencer]:
    fencer = Fencer(cast(Store, leases))
    fencer.start()
    yield fencer
    fencer.stop()
    fencer.join(10)
    assert not fencer.is_alive()


def job(job_id: str) -> Job:
    return Job(id=job_id, queue="normal", token="1")


def test_a_fence_is_granted_while_the_lease_is_ours(fencer: Fencer) -> None:
    answers = [fencer.ask(job("mine")), fencer.ask(job("lost"))]

    assert answers == [True, False]


def test_questions_gather_while_one_is_under_way(leases: Leases, fencer: Fencer) -> None:
    leases.answers.clear()

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(fencer.ask, job("a"))
        eventually(lambda: leases.calls)
        later = [threads.submit(fencer.ask, job(job_id)) for job_id in ("b", "lost", "d")]
        eventually(lambda: fencer._questions.qsize() == 3)
        leases.answers.set()

    assert [answer.result() for answer in [first, *later]] == [True, True, False, True]
    assert [sorted(call) for call in leases.calls] == [["a"], ["b", "d", "lost"]]


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), OSError("gone")])
def test_without_an_answer_nothing_may_be_sent(leases: Leases, fencer: Fencer, error: Exception) -> None:
    leases.error = error

    with pytest.raises(FenceUnanswered, match="Redis did not answer: gone") as failure:
        fencer.ask(job("mine"))

    assert isinstance(failure.value, RedisUnavailable)
    leases.error = None
    assert fencer.ask(job("mine"))


def test_questions_that_came_before_the_stop_are_answered(leases: Leases, fencer: Fencer) -> None:
    leases.answers.clear()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fencer.ask, job("a"))
        eventually(lambda: leases.calls)
        second = threads.submit(fencer.ask, job("b"))
        eventually(lambda: fencer._questions.qsize() == 1)
        fencer.stop()
        leases.answers.set()

    assert (first.result(), second.result()) == (True, True)
    eventually(lambda: not fencer.is_alive())
