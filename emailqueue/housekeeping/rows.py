"""How a death, as Redis tells of it, becomes rows of the database."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from emailqueue.dead_letters.preview import record_of
from emailqueue.jobs.outcome import Failure
from emailqueue.jobs.priority import EMAIL_QUEUES, Priority
from emailqueue.mail.messages import DELIVER_MESSAGE, MESSAGE
from emailqueue.models import Attempt, DeadLetter, Reason

Rows = tuple[DeadLetter, list[Attempt]]


def rows(death: str, entry: bytes) -> Rows:
    """Return letter and attempts of one inbox entry; one that cannot be read becomes a letter that holds its text."""
    try:
        return _read(death, _storable(json.loads(entry)))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        failure = Failure.of(error)
        letter = DeadLetter(
            id=death,
            raw=_storable(entry.decode("utf-8", "backslashreplace")),
            reason=Reason.MALFORMED,
            error_class=failure.error_class,
            message=f"The entry of this death in Redis cannot be read: {failure.message}",
            dead_lettered_at=timezone.now(),
        )
        return letter, []


def _read(death: str, record: Mapping[str, Any]) -> Rows:
    arguments = record["arguments"]
    mail = _mail(arguments, function=record["function"])
    history = record["history"]
    last = history[-1] if history else {}
    letter = DeadLetter(
        id=death,
        job_id=_text(record, "job_id", 200),
        queue=_text(record, "queue", 100),
        label=_text(record, "label", 200),
        email_type=_text(mail, "email_type", 200),
        recipient=_text(mail, "to", 320),
        priority=Priority.parse(record["queue"]) if record["queue"] in EMAIL_QUEUES else None,
        function=_text(record, "function", 300),
        arguments=arguments,
        raw=_text(record, "raw"),
        attempts_allowed=int(record["attempts"]),
        backoff=record["backoff"],
        reason=_text(record, "reason", 20),
        attempts_charged=sum(1 for attempt in history if attempt.get("charged", True)),
        created_at=_moment(record.get("created_at")),
        dead_lettered_at=_moment(record["dead_lettered_at"]) or timezone.now(),
        redrives=_text(record, "letter", 64),
        cause=_text(record, "cause", 64),
        **_failure(last),
    )
    letter.rendered = record_of(letter)
    return letter, [
        Attempt(
            dead_letter=letter,
            number=number,
            at=_moment(attempt.get("at")) or letter.dead_lettered_at,
            kind=_text(attempt, "kind", 20),
            charged=bool(attempt.get("charged", True)),
            times=int(attempt.get("times", 1)),
            worker=_text(attempt, "worker", 200),
            phase=_text(attempt, "phase", 20),
            traceback=_text(attempt, "traceback"),
            **_failure(attempt),
        )
        for number, attempt in enumerate(history, start=1)
    ]


def _mail(arguments: Any, *, function: Any) -> Mapping[str, Any]:
    """Return the arguments of a mail with its type; nothing for what is no mail."""
    if not isinstance(arguments, dict):
        return {}
    if function == DELIVER_MESSAGE:
        return {"email_type": MESSAGE, **arguments}
    return arguments if "email_type" in arguments else {}


def _failure(attempt: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "error_class": _text(attempt, "error_class", 200),
        "message": _text(attempt, "message"),
        "smtp_code": attempt.get("smtp_code"),
        "smtp_reply": _text(attempt, "smtp_reply"),
        "verdict": _text(attempt, "verdict", 20),
        "rule": _text(attempt, "rule", 100),
    }


def _text(record: Mapping[str, Any], name: str, length: int | None = None) -> str:
    value = record.get(name)
    return "" if value is None else str(value)[:length]


def _moment(text: Any) -> datetime | None:
    moment = parse_datetime(text) if isinstance(text, str) else None
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment


def _storable(value: Any) -> Any:
    """Return a JSON value without what PostgreSQL refuses: NUL, half surrogate pairs, NaN and infinity."""
    if isinstance(value, str):
        text = value.replace("\0", "\N{SYMBOL FOR NULL}")
        return text.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_storable(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
