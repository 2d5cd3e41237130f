"""How an entry of the inbox in Redis becomes rows of the database: a dead letter and its attempts."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from emailqueue.dead_letters.preview import record_of
from emailqueue.jobs.functions import DELIVER_MESSAGE
from emailqueue.jobs.outcome import Failure
from emailqueue.jobs.priority import EMAIL_QUEUES, Priority
from emailqueue.mail.messages import MESSAGE
from emailqueue.models import Attempt, DeadLetter, Reason

Rows = tuple[DeadLetter, list[Attempt]]


def rows(pk: str, entry: bytes) -> Rows:
    """Return dead letter and attempts of an entry, see jobs/record.py; one that cannot be read is kept as its text."""
    try:
        return _read(pk, _storable(json.loads(entry)))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        failure = Failure.of(error)
        letter = DeadLetter(
            id=pk,
            raw=_storable(decoded(entry)),
            reason=Reason.MALFORMED,
            error_class=failure.error_class,
            message=f"The entry of this dead letter in Redis cannot be read: {failure.message}",
            dead_lettered_at=timezone.now(),
        )
        return letter, []


def decoded(value: bytes) -> str:
    """Return what Redis holds as text, whatever anyone has put there."""
    return value.decode("utf-8", "backslashreplace")


def _read(pk: str, record: Mapping[str, Any]) -> Rows:
    arguments, history = record["arguments"], record["history"]
    mail = _mail(arguments, function=record["function"])
    last = history[-1] if history else {}
    letter = DeadLetter(
        id=pk,
        **_texts(record, job_id=200, queue=100, label=200, function=300, raw=None, reason=20, cause=64),
        **_texts(mail, email_type=200),
        recipient=_text(mail, "to", 320),
        priority=Priority.parse(record["queue"]) if record["queue"] in EMAIL_QUEUES else None,
        arguments=arguments,
        attempts_allowed=int(record["attempts"]),
        backoff=record["backoff"],
        attempts_charged=sum(1 for attempt in history if attempt.get("charged", True)),
        created_at=_moment(record.get("created_at")),
        dead_lettered_at=_moment(record["dead_lettered_at"]) or timezone.now(),
        redrives=_text(record, "dead_letter", 64),
        verdict=_text(last, "kind", 20) if last.get("rule") else "",
        **_failure(last),
    )
    letter.rendered = record_of(letter)
    return letter, [_attempt(letter, number, attempt) for number, attempt in enumerate(history, start=1)]


def _attempt(letter: DeadLetter, number: int, attempt: Mapping[str, Any]) -> Attempt:
    return Attempt(
        dead_letter=letter,
        number=number,
        at=_moment(attempt.get("at")) or letter.dead_lettered_at,
        charged=bool(attempt.get("charged", True)),
        times=int(attempt.get("times", 1)),
        **_texts(attempt, kind=20, worker=200, phase=20, traceback=None),
        **_failure(attempt),
    )


def _mail(arguments: Any, *, function: Any) -> Mapping[str, Any]:
    """Return the arguments of a mail with its type; nothing for what is no mail."""
    if not isinstance(arguments, dict):
        return {}
    if function == DELIVER_MESSAGE:
        return {"email_type": MESSAGE, **arguments}
    return arguments if "email_type" in arguments else {}


def _failure(attempt: Mapping[str, Any]) -> dict[str, Any]:
    texts = _texts(attempt, error_class=200, message=None, smtp_reply=None, rule=100)
    return {**texts, "smtp_code": attempt.get("smtp_code")}


def _texts(record: Mapping[str, Any], **lengths: int | None) -> dict[str, Any]:
    """Return fields of a record as texts of these lengths at most."""
    return {name: _text(record, name, length) for name, length in lengths.items()}


def _text(record: Mapping[str, Any], name: str, length: int | None) -> str:
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
