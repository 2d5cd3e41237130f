"""The jobs that a worker has claimed and not settled: how many more it takes, and what is to be written about them."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from emailqueue.jobs.job import Job
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.store import Settlement

AHEAD = 0.05
"""Seconds of work that may be claimed ahead, so that the next mail is the most urgent one."""
SETTLE_WITHIN = 0.005
"""Seconds that a job which has run waits for others to be settled with it."""
SETTLE_AT_MOST = 100
"""Jobs that are settled in one call."""
MAX_JOBS = 200
"""Jobs that one worker has at most."""


class ClaimedJobs:
    """The jobs of a worker with so many threads. `clock` is monotonic."""

    def __init__(self, threads: int, *, clock: Callable[[], float]) -> None:
        self._threads, self._clock = threads, clock
        self._jobs: dict[str, Job] = {}
        self._ended: list[Settlement] = []
        self._settle_at = float("inf")
        self._pace = float("inf")

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def add(self, job: Job) -> None:
        """Add a job that was claimed just now."""
        self._jobs[_lease(job)] = job

    def drop(self, job: Job) -> None:
        """Forget a job that is settled, or whose lease is lost."""
        self._jobs.pop(_lease(job), None)

    def are_among(self, jobs: Iterable[Job]) -> bool:
        """Return whether there are no others than `jobs`."""
        return set(self._jobs) <= set(map(_lease, jobs))

    # How many more

    def keep_pace(self, seconds: float) -> None:
        """Count how long a mail took."""
        self._pace = seconds if self._pace == float("inf") else 0.9 * self._pace + 0.1 * seconds

    def room(self) -> int:
        """Return how many more jobs find work soon."""
        ahead = int(self._threads * AHEAD / self._pace) if self._pace else MAX_JOBS
        return min(self._threads + ahead, MAX_JOBS) - len(self)

    def event_room(self, *, beside_mail: bool) -> int:
        """Return how many more jobs of events may run: beside mail, on half of the threads."""
        most = max(1, self._threads // 2) if beside_mail else self._threads
        return most - sum(job.queue == EVENT_QUEUE for job in self)

    # What is to be written

    def to_settle(self, settlement: Settlement) -> None:
        """Have a settlement written, within SETTLE_WITHIN and together with others."""
        if not self._ended:
            self._settle_at = self._clock() + SETTLE_WITHIN
        if settlement.is_outage:  # at once, before the next claim: others would run into the same outage
            self._settle_at = float("-inf")
        self._ended.append(settlement)

    @property
    def settle_at(self) -> float:
        """The moment at which to settle: infinite while there is nothing to write."""
        if self._ended and (len(self._ended) >= min(len(self), SETTLE_AT_MOST)):  # nothing else to wait for
            return float("-inf")
        return self._settle_at if self._ended else float("inf")

    def batch(self) -> list[Settlement]:
        """Return what to write in one call. It stays until written() is called: repeating a call changes nothing."""
        return self._ended[:SETTLE_AT_MOST]

    def written(self, batch: Sequence[Settlement]) -> None:
        """Forget what was written, and the jobs of it."""
        del self._ended[: len(batch)]
        for settlement in batch:
            self.drop(settlement.job)


def _lease(job: Job) -> str:
    return f"{job.id}:{job.token}"
