"""One attempt at a job: runs its function, and keeps what it queued ready for the settlement."""

from collections.abc import Callable
from dataclasses import replace

from redis import RedisError

from emailqueue.enqueue.staging import Staging
from emailqueue.errors import RedisUnavailable
from emailqueue.jobs.ends import End
from emailqueue.jobs.functions import Run
from emailqueue.jobs.job import Job, MalformedJob
from emailqueue.jobs.outcome import BACK, Outcome
from emailqueue.store import Store


def attempt(
    job: Job,
    run: Run,
    store: Store,
    *,
    before_end: Callable[[], None] = lambda: None,
    caught: tuple[type[BaseException], ...] = (BaseException,),
) -> Outcome:
    """
    Run `job` and return what came of it; what is `caught`, in a worker all that it raises, becomes an outcome.

    `before_end` is called while what is queued still belongs to the job.
    """
    staging = Staging(job.id)
    try:
        with staging.collecting():
            outcome = job.function()(job, run)
            before_end()
        is_sent = outcome.end.meaning.verb == "sent"
        return replace(outcome, staged=staging.store(store)) if is_sent else outcome
    except MalformedJob as error:
        return Outcome.failed(End.MALFORMED, error)
    except (RedisUnavailable, RedisError):  # no fault of the job, which has done nothing that counts
        return BACK
    except caught as error:  # also SystemExit in a handler: a worker reports and lives on
        return Outcome.failed(End.RETRY, error)
