"""How a job is written into RQ's hash and read back, and which functions a job may call."""

from __future__ import annotations

import hashlib
import json
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from django.core.mail import EmailMessage

from emailqueue.errors import EmailQueueError, InvalidBackoff
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.outcome import Outcome, PastAttempt
from emailqueue.jobs.priority import EVENT_QUEUE


class MalformedJob(EmailQueueError, ValueError):
    """The hash of a job cannot be read, or names a function that jobs must not call."""


class Sender(Protocol):
    """A thread's way to the mail server."""

    def send(self, message: EmailMessage, *, fence: Callable[[], bool]) -> Outcome:
        """Send one mail, asking `fence` at the last moment before the server can accept it."""


class Run(Protocol):
    """What the worker offers to a job function while it runs."""

    def fence(self) -> bool:
        """Mark the job as about to be sent. False: the lease is lost, do not send."""

    def mailer(self) -> Sender:
        """Return this thread's connection to the mail server."""


JobFunction = Callable[["Job", Run], Outcome]
_functions: dict[str, JobFunction] = {}
_no_mails: set[str] = set()


def job_function(function: JobFunction) -> JobFunction:
    """Allow jobs to call `function`, by its dotted path."""
    _functions[path_of(function)] = function
    return function


def event_function(function: JobFunction) -> JobFunction:
    """Allow jobs to call `function`, which sends no mail: they count as events, whichever queue they wait in."""
    _no_mails.add(path_of(function))
    return job_function(function)


def is_job_function(path: str) -> bool:
    """Return whether jobs may call the function at that dotted path."""
    return path in _functions


def path_of(function: JobFunction) -> str:
    """Return the dotted path under which jobs name `function`."""
    return f"{function.__module__}.{function.__qualname__}"


def new_id(idempotency_key: str | None = None) -> str:
    """Return a job id of 32 hex digits: a new one, or always the same one for the same key."""
    if idempotency_key is None:
        return uuid.uuid4().hex
    return hashlib.sha256(b"emailqueue:" + idempotency_key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def history_of(text: bytes | None) -> tuple[PastAttempt, ...]:
    """Return the attempts that a job's hash holds; nothing of what somebody else has written."""
    return tuple(attempt for attempt in _json_or(text, []) if isinstance(attempt, dict))


def timestamp(moment: datetime | None = None) -> str:
    """Return `moment`, or now, as RQ writes times (rq.utils.utcformat)."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job on its way into Redis."""

    id: str
    queue: str
    function: str
    """Dotted path of a registered job function."""

    arguments: Mapping[str, Any]
    """Keyword arguments; values that JSON can carry."""

    attempts: int
    backoff: Backoff
    label: str
    """Its name in RQ's dashboard, in counters and in the admin: an e-mail type or a topic, never an address."""

    due: str = ""
    """Empty: now. "+5": in five seconds. "1700000000.5": at that Unix time. Redis's clock decides."""

    keyed: bool = False
    """Whether the id comes from an idempotency key."""

    letter: str = ""
    """Id of the dead letter that this job redrives."""

    cause: str = ""
    """Id of the event or the job that led to this one."""

    ambiguous: bool = False
    """Whether it may have been sent already."""
    domain: str = ""
    """Domain of the recipient, in lower-case ASCII, which may ask us to go slower; empty for what is no mail."""

    created_at: str = field(default_factory=timestamp)

    def fields(self) -> dict[str, str]:
        """Return the hash as RQ and we read it (rq.job.Job.restore). `data` stays uncompressed: RQ takes both."""
        fields = {
            "created_at": self.created_at,
            "enqueued_at": timestamp(),
            "data": json.dumps([self.function, None, [], self.arguments]),
            "description": self.label,
            "origin": self.queue,
            "timeout": "180",
            "plan": json.dumps({"attempts": self.attempts, "backoff": self.backoff.as_json()}),
            "due_at": f"{self.due_at():.6f}",
        }
        marks = {
            "letter": self.letter,
            "cause": self.cause,
            "ambiguous": "1" if self.ambiguous else "",
            "domain": self.domain,
        }
        return fields | {name: mark for name, mark in marks.items() if mark}

    def due_at(self) -> float:
        """Return the Unix time from which on the job waits, by the clock of this machine."""
        created = datetime.fromisoformat(self.created_at).timestamp()
        if self.due.startswith("+"):
            return created + float(self.due)
        return max(created, float(self.due or 0))

    def counted_in(self) -> str:
        """Return the queue in whose figures the job counts."""
        return EVENT_QUEUE if self.function in _no_mails else self.queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that this worker has claimed."""

    id: str
    queue: str
    token: str
    """Fencing token: only its holder may settle the job."""

    label: str = ""
    data: bytes = b""
    plan: bytes = b""
    history: tuple[PastAttempt, ...] = ()
    """The attempts before this one, see outcome.PastAttempt."""

    crashes: int = 0
    """How many workers died with this job in their hands."""

    ambiguous: bool = False
    """Whether an earlier attempt may have been delivered."""

    letter: str = ""
    created_at: str = ""
    cause: str = ""
    """Id of the event or the job that led to this one."""

    due_at: float = 0.0
    """Unix time from which on it has waited; 0 where nobody wrote it."""

    claimed_at: float = 0.0
    """Unix time of the claim, by the clock of Redis."""

    fair: bool = False
    """Whether it was handed out for its age, before others that are more urgent."""

    @classmethod
    def claimed(cls, reply: list[Any]) -> Job:
        """Read one job of the reply of claim.lua."""
        job_id, queue, token, label, data, plan, history, crashes, ambiguous, letter, created_at, *more = reply
        cause, due_at, claimed_at, fair = more
        return cls(
            id=_text(job_id),
            queue=_text(queue),
            token=_text(token),
            label=_text(label),
            data=data or b"",
            plan=plan or b"",
            history=history_of(history),
            crashes=int(crashes),
            ambiguous=bool(ambiguous),
            letter=_text(letter),
            created_at=_text(created_at),
            cause=_text(cause),
            due_at=_number(due_at),
            claimed_at=_number(claimed_at),
            fair=bool(fair),
        )

    def call(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the function and its arguments. Raises MalformedJob."""
        try:
            raw = zlib.decompress(self.data)
        except zlib.error:
            raw = self.data
        try:
            path, _instance, positional, arguments = json.loads(raw)
        except (ValueError, TypeError, RecursionError) as error:
            raise MalformedJob(f"Job {self.id} holds no JSON call: {raw[:200]!r}.") from error
        if not isinstance(path, str) or positional or not isinstance(arguments, dict):
            raise MalformedJob(f"Job {self.id} is not a call with keyword arguments: {raw[:200]!r}.")
        return path, arguments

    def function(self) -> JobFunction:
        """Return the function to run. Raises MalformedJob when it is not a registered one."""
        path, _arguments = self.call()
        if not is_job_function(path):
            raise MalformedJob(
                f"Job {self.id} calls {path!r}, which no app of this project has registered as a job function."
            )
        return _functions[path]

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments. Raises MalformedJob."""
        return self.call()[1]

    def counted_in(self) -> str:
        """Return the queue in whose figures the job counts."""
        try:
            return EVENT_QUEUE if self.call()[0] in _no_mails else self.queue
        except MalformedJob:
            return self.queue

    def attempts(self) -> int:
        """Return how often the job may be tried in all."""
        attempts = self._plan().get("attempts", 1)
        return attempts if isinstance(attempts, int) else 1

    def backoff(self) -> Backoff:
        """Return the waits between its attempts."""
        try:
            return Backoff.parse(self._plan().get("backoff", {}))
        except InvalidBackoff:
            return Backoff()

    def charged(self) -> int:
        """Return how many attempts are used up already."""
        return sum(1 for attempt in self.history if attempt.get("charged", True))

    def waited(self) -> float:
        """Return the seconds between the time when the job was due and its claim; 0 where nobody wrote the former."""
        return self.claimed_at - self.due_at if self.due_at else 0.0

    def _plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = _json_or(self.plan, {})
        return plan


def _text(value: bytes | None) -> str:
    # A stranger's bytes must not end the worker: another would claim the job, and end, too.
    return (value or b"").decode("utf-8", "replace")


def _number(value: bytes | None) -> float:
    try:
        return float(value or 0)
    except ValueError:
        return 0.0


def _json_or(text: bytes | None, otherwise: Any) -> Any:
    """Return what `text` holds, or `otherwise` when a stranger has written it."""
    try:
        value = json.loads(text or b"null")
    except (ValueError, RecursionError):
        return otherwise
    return value if isinstance(value, type(otherwise)) else otherwise
