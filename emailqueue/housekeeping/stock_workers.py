"""What becomes of a job of ours that a stock RQ worker took and failed: a dead letter, too."""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq.defaults import RQ_KEY_PREFIX

from emailqueue.housekeeping.rows import decoded
from emailqueue.jobs.ends import End, Reason
from emailqueue.jobs.job import Job, timestamp
from emailqueue.jobs.outcome import Failure, shorten
from emailqueue.jobs.priority import QUEUES
from emailqueue.jobs.record import past_attempt, record_of
from emailqueue.store import COUNTERS, INBOX, rq_key
from emailqueue.verdict.table import STOCK_WORKER

Fields = Mapping[bytes, bytes]

AT_ONCE = 100
"""Failures of one queue that one call imports."""


def import_stock_worker_failures(connection: Redis) -> int:
    """
    Move what stands in RQ's registries of failed jobs of our queues into the inbox, and return how many.

    Any number of workers may call this at the same time.
    """
    imported = 0
    for queue in QUEUES:
        job_ids: list[Any] = connection.zrange(rq_key("failed", queue), 0, AT_ONCE - 1)
        imported += sum(_import_failure(connection, queue, decoded(job_id)) for job_id in job_ids)
    return imported


def _import_failure(connection: Redis, queue: str, job_id: str) -> bool:
    registry, job_key = rq_key("failed", queue), f"{RQ_KEY_PREFIX}:job:{job_id}"
    results = f"{RQ_KEY_PREFIX}:results:{job_id}"

    # Watched: a worker that was late would delete the job that staff have put back by then.
    def move(pipeline: Pipeline) -> None:
        score = pipeline.zscore(registry, job_id)
        fields: Any = pipeline.hgetall(job_key)
        newest: Any = pipeline.xrevrange(results, count=1)
        pipeline.multi()
        pipeline.zrem(registry, job_id)
        if score is None or fields.get(b"place") == b"lease":  # one of our workers has it: its outcome counts
            return
        pk = hashlib.sha256(f"{job_id}:{score}".encode()).hexdigest()[:32]
        job = Job.read({decoded(name): value for name, value in fields.items()}, id=job_id, queue=queue)
        record = _record(job, fields, newest[0][1] if newest else {})
        pipeline.hset(INBOX, pk, json.dumps(record))
        pipeline.delete(job_key, results)
        pipeline.hincrby(COUNTERS, f"{queue}:failed", 1)

    replies: Any = connection.transaction(move, registry, job_key)
    return len(replies) > 1


def _record(job: Job, fields: Fields, result: Fields) -> dict[str, Any]:
    failed_at = decoded(fields.get(b"ended_at", b"")) or timestamp()
    failure = _failure(fields, result)
    worker = decoded(result.get(b"worker_name", b""))
    record = record_of(job, reason=Reason.EXHAUSTED, history=(), dead_lettered_at=failed_at)
    if record["function"]:  # what staff need to know; a job that cannot be read is one of another kind
        failure = replace(failure, rule=STOCK_WORKER)
    else:
        record["reason"] = Reason.MALFORMED.value
    attempt = past_attempt(End.PERMANENT, failure, worker=worker, at=failed_at)
    return {**record, "history": [*job.history, attempt]}


def _failure(fields: Fields, result: Fields) -> Failure:
    """Return the error as RQ stores it: in the newest result, or in the job itself before RQ 1.16."""
    try:
        packed = base64.b64decode(result[b"exc_string"]) if b"exc_string" in result else fields[b"exc_info"]
        text = decoded(zlib.decompress(packed))
    except (KeyError, ValueError, zlib.error):
        text = ""
    last = text.strip().rpartition("\n")[2]
    error_class, colon, message = last.partition(": ")
    if not colon or " " in error_class:
        error_class, message = "", last
    return Failure(error_class=error_class, message=shorten(message), traceback=shorten(text))
