"""What is known of a failed delivery: where it happened, what the server replied, and which rule judges it."""

import smtplib
from typing import Any
from urllib.error import HTTPError

from emailqueue.jobs.outcome import Failure, Outcome
from emailqueue.verdict.judge import judge

PHASES = {
    smtplib.SMTPConnectError: "connect",
    smtplib.SMTPHeloError: "connect",
    smtplib.SMTPAuthenticationError: "connect",
    smtplib.SMTPSenderRefused: "mail",
}
"""Where smtplib's errors happen that say so; others are about the mail itself."""


def judged(error: Exception, *, phase: str, code: int | None = None, reply: str = "") -> Outcome:
    """Return the outcome that the rules of emailqueue.verdict see in an error."""
    rule = judge(phase, code, reply, error=error)
    dialogue: Any = {} if phase == "api" else {"phase": phase, "code": code, "reply": reply}
    failure = Failure.of(error, rule=rule.name, **dialogue)
    before_contact = rule.before_contact or phase == "connect"
    return Outcome(end=rule.end, failure=failure, before_contact=before_contact, about_account=rule.about_account)


def place(error: Exception) -> dict[str, Any]:
    """Return phase, code and reply of an error that another backend raised: from smtplib, or as an API's answer."""
    if isinstance(error, smtplib.SMTPRecipientsRefused) and error.recipients:
        code, reply = next(iter(error.recipients.values()))
        return {"phase": "rcpt", "code": code, "reply": as_text(reply)}
    if not isinstance(error, smtplib.SMTPResponseException):
        return {"phase": "api", "code": _http_status(error), "reply": str(error)}
    phase = PHASES.get(type(error), "body")
    return {"phase": phase, "code": error.smtp_code, "reply": as_text(error.smtp_error)}


def _http_status(error: BaseException | None) -> int | None:
    """Return the HTTP status that an API answered, from where anymail, requests, urllib and botocore keep it."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for status in (getattr(error, "status_code", None), response, getattr(response, "status_code", None)):
            if isinstance(status, int):
                return status
        if isinstance(error, HTTPError):
            return error.code
        error = error.__cause__
    return None


def as_text(reply: Any) -> str:
    """Return a reply of smtplib, which is bytes, and of others."""
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
