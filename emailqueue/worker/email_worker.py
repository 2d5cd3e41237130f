"""EmailWorker: the RQ worker that `manage.py rqworker` runs; see loop.py for how it lives."""

import logging
import math
import signal
import time
from ssl import SSLError
from types import FrameType
from typing import Any

from django.core.checks import ERROR
from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis import TimeoutError as RedisTimeoutError
from redis.exceptions import AuthenticationError, AuthorizationError
from rq import Queue, Worker

from emailqueue import logs
from emailqueue.conf import get_settings
from emailqueue.errors import UnknownQueue
from emailqueue.flow import limit_in, outages_in, paused_in
from emailqueue.housekeeping.thread import Housekeeper
from emailqueue.jobs.priority import EMAIL_QUEUES, EVENT_QUEUE
from emailqueue.redis import connect
from emailqueue.redis.report import RedisReport, describe_redis
from emailqueue.store import NOW, OUTCOMES, Counts, Settled, Settlement
from emailqueue.worker.heartbeat import Heartbeat
from emailqueue.worker.listener import PATIENCE
from emailqueue.worker.loop import Limits, Stop, WorkerLoop
from emailqueue.worker.outage import announce, server_name

logger = logging.getLogger("emailqueue.worker")

REDIS_TIMEOUT = 5.0
"""Seconds that a worker waits for an answer of Redis."""
REDIS_AGAIN = 2.0
"""Seconds after which a worker that starts asks again for a Redis that is away."""


class EmailWorker(Worker):
    """
    Sends the e-mails and runs the event subscribers of our queues, several at once, in threads.

    Takes what rqworker gives it: burst, name, max_jobs, max_idle_time. It needs no scheduler and
    no work horse; both options are ignored. Waits for a Redis that is away. Raises UnknownQueue for a queue that is
    not ours, and RQ's own kind of error, a redis.ConnectionError, with a sentence where Redis cannot carry the queue.
    """

    def __init__(self, queues: Any, name: str | None = None, **kwargs: Any) -> None:
        names = [queue.name if isinstance(queue, Queue) else str(queue) for queue in _listed(queues)]
        ours = get_settings().by_rq_name
        if others := [name for name in names if name not in ours]:
            raise UnknownQueue(
                f"EmailWorker does not work on {', '.join(map(repr, others))}. It takes {', '.join(ours)}; start "
                "a worker of RQ's own class for other queues: manage.py rqworker --worker-class rq.Worker …"
            )
        if kwargs.get("prepare_for_work", True):
            # Before RQ asks anything, whose errors say less. It starts the embedded Valkey, too.
            self._report = _usable_redis()
        super().__init__(queues, name, **kwargs)

    def _set_connection(self, connection: Redis) -> Redis:
        return connection  # RQ would raise the time-outs to minutes, for a BLPOP that we don't use

    def work(
        self,
        burst: bool = False,  # noqa: FBT001, FBT002  the signature is RQ's
        logging_level: str | None = None,
        *args: Any,
        max_jobs: int | None = None,
        max_idle_time: int | None = None,
        **kwargs: Any,
    ) -> bool:
        """
        Work until SIGTERM or SIGINT, or until burst, max_jobs or max_idle_time ends it.

        Returns whether anything was done. Exits with status 1 when it had to leave a job behind:
        that job's lease then runs out, and another worker takes it.
        """
        logs.show(logging_level)
        settings = get_settings()
        connection = connect(timeout=REDIS_TIMEOUT)
        self._housekeeper = Housekeeper(connection)
        self._loop = WorkerLoop(
            connection,
            listening=connect(timeout=PATIENCE + REDIS_TIMEOUT),
            settings=settings,
            name=self.name,
            queues=[settings.by_rq_name[name] for name in self.queue_names()],
            ttl=self.worker_ttl,
            limits=Limits(burst=burst, max_jobs=_or_endless(max_jobs), max_idle_time=_or_endless(max_idle_time)),
            on_inbox=self._housekeeper.poke,
            on_sent=self._housekeeper.forget,
            on_figures=self._show_figures,
            on_outage=self._announce,
        )
        self._sent_before: tuple[int, float] | None = None
        self._stop_requested_at = 0.0
        # Before anyone hears that it has started: from here on a signal ends it in good order.
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            clean = self._run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if not clean:
            raise SystemExit(1)
        return self._loop.jobs_done > 0

    def _run(self) -> bool:
        """Register the worker, run its loop, and return whether every job was settled."""
        self.register_birth()  # type: ignore[no-untyped-call]  # RQ types a part of its methods
        logger.info("%s", self._report)
        for problem in self._report.problems:
            logger.warning("%s %s", problem.msg, problem.hint)
        logger.info(
            "worker started", extra={"worker": self.name, "pid": self.pid, "queues": ",".join(self.queue_names())}
        )
        self._housekeeper.start()
        try:
            clean = self._loop.run()
        finally:
            self._housekeeper.stop()
        self.register_death()  # type: ignore[no-untyped-call]
        logger.info("worker stopped", extra={"worker": self.name, "jobs": self._loop.jobs_done})
        return clean

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again = bool(self._stop_requested_at)
        if again and now - self._stop_requested_at < 1:
            return  # a pool and the terminal both signal for the same Ctrl+C
        self._stop_requested_at = now
        self._loop.inbox.put(Stop(force=again))

    def _announce(self, changed: Settled, settlement: Settlement) -> None:
        self._housekeeper.run_errand(announce(changed, settlement, server=server_name(get_settings())))

    def _show_figures(self, counts: Counts) -> None:
        """Write the statistics line."""
        mails, events = counts.of(*EMAIL_QUEUES), counts.of(EVENT_QUEUE)
        now = time.monotonic()
        sent, since = self._sent_before or (mails.completed, now - 1)
        self._sent_before = (mails.completed, now)
        limit = limit_in(counts.flow, get_settings()).rate
        shown = {
            **{what: getattr(mails, what) for what in (*NOW, *OUTCOMES)},
            "dead_letters": self._housekeeper.open_letters,
            **{f"events_{what}": getattr(events, what) for what in ("waiting", "active", "completed", "failed")},
            "rate": f"{(mails.completed - sent) / (now - since):.1f}/s",
            "limit": f"{limit:g}/s" if limit else "none",
        }
        logger.info("statistics", extra={**shown, **_kept_back(counts)})
        if counts.stock_failed:
            self._housekeeper.import_stock_worker_failures()


def _usable_redis() -> RedisReport:
    """Return the report about Redis, once it is not away; a signal ends the wait."""
    heartbeat = Heartbeat(get_settings().heartbeat_file)
    while True:
        report = describe_redis(connect(timeout=REDIS_TIMEOUT))
        refusal = next((problem for problem in report.problems if problem.level >= ERROR), None)
        if refusal is None:
            return report
        text = f"{refusal.msg} {refusal.hint}"
        if not _is_away():
            raise RedisConnectionError(text)  # rqworker writes it and exits with 1
        logger.warning("redis is away, waiting for it", extra={"error": text})
        heartbeat.beat()
        time.sleep(REDIS_AGAIN)


def _is_away() -> bool:
    """Return whether Redis is away, and False for what time does not mend, as a wrong password."""
    try:
        connect(timeout=REDIS_TIMEOUT).ping()
    except RedisError as error:
        is_refused = isinstance(error, AuthenticationError | AuthorizationError)
        is_refused |= isinstance(error.__cause__ or error.__context__, SSLError)
        return isinstance(error, RedisConnectionError | RedisTimeoutError) and not is_refused
    return False


def _kept_back(counts: Counts) -> dict[str, str]:
    """Return what keeps mail back, as pairs of the statistics line; nothing where nothing does."""
    flow = counts.flow
    why = {"paused": paused_in(flow), "outage": outages_in(flow), "throttled": list(counts.throttled)[:5]}
    return {what: ",".join(names) for what, names in why.items() if names}


def _or_endless(most: float | None) -> float:
    return math.inf if most is None else most


def _listed(queues: Any) -> list[Any]:
    return list(queues) if isinstance(queues, list | tuple | set) else [queues]
