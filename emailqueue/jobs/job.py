"""How a job is written into RQ's hash and read back."""

import hashlib
import json
import uuid
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from emailqueue.errors import EmailQueueError, InvalidBackoff
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.functions import JobFunction, function_named, is_of_events
from emailqueue.jobs.outcome import PastAttempt
from emailqueue.jobs.priority import EVENT_QUEUE


class MalformedJob(EmailQueueError, ValueError):
    """The hash of a job cannot be read, or names a function that jobs must not call."""


def new_id(idempotency_key: str | None = None) -> str:
    """Return a job id of 32 hex digits: a new one, or always the same one for the same key."""
    if idempotency_key is None:
        return uuid.uuid4().hex
    return hashlib.sha256(b"emailqueue:" + idempotency_key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def timestamp(moment: datetime | None = None) -> str:
    """Return `moment`, or now, as RQ writes times (rq.utils.utcformat)."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job on its way into Redis."""

    id: str
    queue: str
    function: str
    """Name of a registered job function."""

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

    dead_letter: str = ""
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
            "timeout": "180",
            "plan": json.dumps({"attempts": self.attempts, "backoff": self.backoff.as_json()}),
            "due_at": f"{self.due_at():.6f}",
            "dead_letter": self.dead_letter,
            "cause": self.cause,
            "ambiguous": "1" if self.ambiguous else "",
            "domain": self.domain,
        }
        return {name: value for name, value in fields.items() if value}

    def due_at(self) -> float:
        """Return the Unix time from which on the job waits, by the clock of this machine."""
        created = datetime.fromisoformat(self.created_at).timestamp()
        if self.due.startswith("+"):
            return created + float(self.due)
        return max(created, float(self.due or 0))

    def counted_in(self) -> str:
        """Return the queue in whose figures the job counts."""
        return EVENT_QUEUE if is_of_events(self.function) else self.queue


TEXTS = ("dead_letter", "created_at", "cause")
FIELDS = ("description", "data", "plan", "history", "crashes", "ambiguous", "due_at", *TEXTS)
"""The fields of the hash that Job reads; a claim answers with their values, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a job runs."""

    function: str = ""
    arguments: dict[str, Any] | None = None
    """Keyword arguments; None: there is no call that can be read."""

    raw: str = ""
    """What stands there instead of a call."""

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a call as RQ writes it, which may be compressed."""
        try:
            raw = zlib.decompress(data)
        except zlib.error:
            raw = data
        with suppress(ValueError, TypeError, RecursionError):
            function, _instance, positional, arguments = json.loads(raw)
            if isinstance(function, str) and not positional and isinstance(arguments, dict):
                return cls(function=function, arguments=arguments)
        return cls(raw=_text(raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was read, once, when this worker claimed it."""

    id: str
    queue: str
    token: str = ""
    """Fencing token: only its holder may settle the job."""

    label: str = ""
    call: Call = Call()
    attempts: int = 1
    backoff: Backoff = field(default_factory=Backoff)
    history: tuple[PastAttempt, ...] = ()
    crashes: int = 0
    """How many workers died with this job in their hands."""

    ambiguous: bool = False
    """Whether an earlier attempt may have been delivered."""

    dead_letter: str = ""
    created_at: str = ""
    cause: str = ""
    due_at: float = 0.0
    """Unix time from which on it has waited; 0 where nobody wrote it."""

    claimed_at: float = 0.0
    """Unix time of the claim, by the clock of Redis."""

    fair: bool = False
    """Whether it was handed out for its age, before others that are more urgent."""

    @classmethod
    def read(cls, fields: Mapping[str, bytes | None], **given: Any) -> Self:
        """Read the hash of a job, of which `given` says the rest."""
        attempts, backoff = _plan(fields.get("plan") or b"")
        texts: dict[str, Any] = {name: _text(fields.get(name)) for name in TEXTS}
        return cls(
            label=_text(fields.get("description")),
            call=Call.read(fields.get("data") or b""),
            attempts=attempts,
            backoff=backoff,
            history=tuple(attempt for attempt in _json_or(fields.get("history"), []) if isinstance(attempt, dict)),
            crashes=int(_number(fields.get("crashes"))),
            ambiguous=bool(fields.get("ambiguous")),
            due_at=_number(fields.get("due_at")),
            **texts,
            **given,
        )

    def function(self) -> JobFunction:
        """Return the function to run. Raises MalformedJob when it is not a registered one."""
        self.arguments()
        if function := function_named(self.call.function):
            return function
        called = f"{self.call.function!r}, which no app of this project has registered as a job function."
        raise MalformedJob(f"Job {self.id} calls {called}")

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments. Raises MalformedJob."""
        if self.call.arguments is None:
            raise MalformedJob(f"Job {self.id} is not a call with keyword arguments in JSON: {self.call.raw[:200]!r}.")
        return self.call.arguments

    def counted_in(self) -> str:
        """Return the queue in whose figures the job counts."""
        return EVENT_QUEUE if is_of_events(self.call.function) else self.queue

    def charged(self) -> int:
        """Return how many attempts are used up already."""
        return sum(1 for attempt in self.history if attempt.get("charged", True))

    def waited(self) -> float:
        """Return the seconds between the time when the job was due and its claim; 0 where nobody wrote the former."""
        return self.claimed_at - self.due_at if self.due_at else 0.0


@lru_cache(maxsize=256)
def _plan(text: bytes) -> tuple[int, Backoff]:
    plan = _json_or(text, {})
    attempts = plan.get("attempts", 1)
    try:
        backoff = Backoff.parse(plan.get("backoff", {}))
    except InvalidBackoff:
        backoff = Backoff()
    return attempts if isinstance(attempts, int) else 1, backoff


def _text(value: bytes | None) -> str:
    # Anyone's bytes must not end the worker: another would claim the job, and end, too.
    return (value or b"").decode("utf-8", "replace")


def _number(value: bytes | None) -> float:
    try:
        return float(value or 0)
    except ValueError:
        return 0.0


def _json_or(text: bytes | None, otherwise: Any) -> Any:
    """Return what `text` holds, or `otherwise` when it is not of our writing."""
    try:
        value = json.loads(text or b"null")
    except (ValueError, RecursionError):
        return otherwise
    return value if isinstance(value, type(otherwise)) else otherwise
