"""What becomes of a job of ours that a stock RQ worker took and failed: a dead letter, too."""

from __future__ import annotations

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

from emailqueue.jobs.job import Job, MalformedJob, timestamp
from emailqueue.jobs.outcome import Failure, shorten
from emailqueue.jobs.priority import QUEUES
from emailqueue.store import COUNTERS, INBOX
from emailqueue.verdict.rule import Action
from emailqueue.verdict.table import STOCK_WORKER

AT_ONCE = 100
"""Failures of one queue that one call imports."""


def import_foreign_failures(connection: Redis) -> int:
    """
    Turn what stands in RQ's registries of failed jobs of our queues into deaths in the inbox, and return how many.

    Any number of workers may call this at the same time.
    """
    imported = 0
    for queue in QUEUES:
        job_ids: list[Any] = connection.zrange(f"{RQ_KEY_PREFIX}:failed:{queue}", 0, AT_ONCE - 1)
        imported += sum(_import_failure(connection, queue, _decoded(job_id)) for job_id in job_ids)
    return imported


def _import_failure(connection: Redis, queue: str, job_id: str) -> bool:
    registry, job_key = f"{RQ_KEY_PREFIX}:failed:{queue}", f"{RQ_KEY_PREFIX}:job:{job_id}"
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
        death = hashlib.sha256(f"{job_id}:{score}".encode()).hexdigest()[:32]
        record = _foreign_record(queue, job_id, fields, newest[0][1] if newest else {})
        pipeline.hset(INBOX, death, json.dumps(record))
        pipeline.delete(job_key, results)
        pipeline.hincrby(COUNTERS, f"{queue}:failed", 1)

    replies: Any = connection.transaction(move, registry, job_key)
    return len(replies) > 1


def _foreign_record(
    queue: str, job_id: str, fields: Mapping[bytes, bytes], result: Mapping[bytes, bytes]
) -> dict[str, Any]:
    label = _decoded(fields.get(b"description", b""))
    job = Job(
        id=job_id,
        queue=queue,
        token="",
        label=label,
        data=fields.get(b"data", b""),
        plan=fields.get(b"plan", b""),
        history=_history(fields.get(b"history", b"[]")),
    )
    failed_at = _decoded(fields.get(b"ended_at", b"")) or timestamp()
    call = _call(job)
    failure = _foreign_failure(fields, result)
    if call["function"]:  # what staff need to know; a job of another kind is told of as malformed
        failure = replace(failure, verdict=Action.DEAD_LETTER.value, rule=STOCK_WORKER)
    attempt = {
        "at": failed_at,
        "kind": "permanent",
        "charged": True,
        "times": 1,
        "worker": _decoded(result.get(b"worker_name", b"")),
        **failure.as_json(),
    }
    return {
        **call,
        "job_id": job_id,
        "queue": queue,
        "label": label,
        "history": [*job.history, attempt],
        "created_at": _decoded(fields.get(b"created_at", b"")),
        "dead_lettered_at": failed_at,
        "letter": _decoded(fields.get(b"letter", b"")),
        "cause": _decoded(fields.get(b"cause", b"")),
    }


def _history(text: bytes) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(entry for entry in json.loads(text) if isinstance(entry, dict))
    except (ValueError, TypeError):
        return ()


def _call(job: Job) -> dict[str, Any]:
    try:
        function, arguments = job.call()
        plan = {"attempts": job.attempts(), "backoff": job.backoff().as_json()}
    except (MalformedJob, ValueError, TypeError):
        raw = shorten(_decoded(job.data))
        return {"function": "", "arguments": None, "raw": raw, "attempts": 1, "backoff": {}, "reason": "malformed"}
    return {"function": function, "arguments": arguments, "raw": "", **plan, "reason": "exhausted"}


def _foreign_failure(fields: Mapping[bytes, bytes], result: Mapping[bytes, bytes]) -> Failure:
    """Return the error as RQ stores it: in the newest result, or in the job itself before RQ 1.16."""
    try:
        packed = base64.b64decode(result[b"exc_string"]) if b"exc_string" in result else fields[b"exc_info"]
        text = _decoded(zlib.decompress(packed))
    except (KeyError, ValueError, zlib.error):
        text = ""
    last = text.strip().rpartition("\n")[2]
    error_class, colon, message = last.partition(": ")
    if not colon or " " in error_class:
        error_class, message = "", last
    return Failure(error_class=error_class, message=shorten(message), traceback=shorten(text))


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
