"""django-anymail as the mailer, against an API on loopback."""

from __future__ import annotations

import json
import smtplib
import threading
import urllib.error
from collections.abc import Iterator, Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from pytest_django import Settings as DjangoSettings

from emailqueue.conf import Settings
from emailqueue.delivery.smtp import Mailer
from emailqueue.jobs.ends import End
from emailqueue.jobs.outcome import LOST, SENT, Outcome

ACCEPTED = {"ErrorCode": 0, "Message": "OK", "MessageID": "1", "To": "ada@example.com", "SubmittedAt": "now"}
INACTIVE = {
    "ErrorCode": 406,
    "Message": "You tried to send to recipient(s) that have been marked as inactive. "
    "Found inactive addresses: ada@example.com. Inactive recipients are ones that have generated a hard bounce.",
}
STOPPED = {"ErrorCode": 412, "Message": "Your account is pending. It is not allowed to send."}


class Api(ThreadingHTTPServer):
    """Answers every request as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ApiRequest)
        self.requests = 0
        self.status = 200
        self.answer = json.dumps(ACCEPTED)
        self.silent = threading.Event()
        """Set, it takes requests and never answers."""
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class ApiRequest(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        if self.server.silent.is_set():
            self.server.ended.wait(10)
            return
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer.encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    threading.Thread(target=api.serve_forever, args=[0.01], daemon=True).start()
    yield api
    api.ended.set()
    api.shutdown()
    api.server_close()


@pytest.fixture
def mailer(api: Api, settings: DjangoSettings) -> Iterator[Mailer]:
    settings.ANYMAIL = {
        "POSTMARK_SERVER_TOKEN": "secret",
        "POSTMARK_API_URL": api.url,
        "REQUESTS_TIMEOUT": 0.3,
    }
    mailer = through("anymail.backends.postmark.EmailBackend", settings)
    yield mailer
    mailer.close()


def through(backend: str, settings: DjangoSettings) -> Mailer:
    if django.VERSION < (6, 1):
        return Mailer(Settings(mailer=backend))
    settings.MAILERS = {**settings.MAILERS, "other": {"BACKEND": backend}}
    return Mailer(Settings(mailer="other"))


def send(mailer: Mailer) -> Outcome:
    message = EmailMessage("Hello", "Dear Ada", "noreply@sender.example", ["ada@example.com"])
    return mailer.send(message, fence=lambda: True)


def judged(outcome: Outcome) -> tuple[End, str]:
    assert outcome.failure is not None
    return outcome.end, outcome.failure.rule


def test_a_mail_is_handed_to_the_api_once(api: Api, mailer: Mailer) -> None:
    outcomes = [send(mailer), mailer.send(EmailMessage(to=["ada@example.com"]), fence=lambda: False)]

    assert outcomes == [SENT, LOST]
    assert api.requests == 1


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (401, {"ErrorCode": 10, "Message": "Bad or missing API token"}, (End.WAIT, "api-login")),
        (403, {}, (End.WAIT, "api-login")),
        (404, {}, (End.WAIT, "api-login")),
        (429, {"Message": "Rate limit exceeded"}, (End.WAIT, "api-limit")),
        (500, {"Message": "Internal error"}, (End.WAIT, "api-away")),
        (503, {}, (End.WAIT, "api-away")),
        (409, {}, (End.RETRY, "api-conflict")),
        (413, {}, (End.PERMANENT, "api-refused")),
        (422, {"ErrorCode": 701, "Message": "Unknown template"}, (End.PERMANENT, "api-refused")),
        (422, STOPPED, (End.WAIT, "our-account")),
        (422, INACTIVE, (End.BAD_ADDRESS, "api-no-address")),
        (200, "accepted, but this is no JSON", (End.AMBIGUOUS, "api-unclear")),
    ],
)
def test_the_answer_of_an_api_is_judged(
    api: Api, mailer: Mailer, status: int, answer: object, expected: tuple[End, str]
) -> None:
    api.status, api.answer = status, answer if isinstance(answer, str) else json.dumps(answer)

    outcome = send(mailer)

    assert judged(outcome) == expected
    assert outcome.failure is not None
    assert (outcome.failure.phase, outcome.failure.smtp_code) == ("", None), "an HTTP status is no SMTP code"


def test_a_refused_address_is_told_from_other_refusals(api: Api, mailer: Mailer) -> None:
    api.status, api.answer = 422, json.dumps(INACTIVE)

    outcome = send(mailer)

    assert outcome.failure is not None
    assert outcome.end is End.BAD_ADDRESS


def test_an_api_that_is_away_is_an_outage(api: Api, mailer: Mailer) -> None:
    api.shutdown()
    api.server_close()

    outcome = send(mailer)

    assert judged(outcome) == (End.WAIT, "not-reached")


def test_an_api_that_does_not_answer_may_have_taken_the_mail(api: Api, mailer: Mailer) -> None:
    api.silent.set()

    outcome = send(mailer)

    assert judged(outcome) == (End.AMBIGUOUS, "api-lost")
    assert api.requests == 1


def test_a_mail_that_the_api_cannot_express_is_given_up(api: Api, mailer: Mailer) -> None:
    message = EmailMultiAlternatives("Hello", "Dear Ada", "noreply@sender.example", ["ada@example.com"])
    message.attach_alternative("<p>Dear Ada</p>", "text/html")
    message.attach_alternative("<p>Dear Ada!</p>", "text/html")

    outcome = mailer.send(message, fence=lambda: True)

    assert judged(outcome) == (End.PERMANENT, "api-message")
    assert api.requests == 0


def test_a_mailer_without_its_settings_is_an_outage(settings: DjangoSettings) -> None:
    settings.ANYMAIL = {}
    mailer = through("anymail.backends.postmark.EmailBackend", settings)

    outcome = send(mailer)

    assert judged(outcome) == (End.WAIT, "not-configured")
    assert outcome.failure is not None
    assert "server_token" in outcome.failure.message.lower()


class ClientError(Exception):
    """Looks like botocore's, which keeps the HTTP status in a dict."""

    response = {"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPStatusCode": 429}}


def caused_by(error: Exception) -> Exception:
    raised = RuntimeError("sending failed")
    raised.__cause__ = error
    return raised


class FailingBackend(BaseEmailBackend):
    """Fails with what the subject names."""

    errors: dict[str, Exception] = {
        "recipients": smtplib.SMTPRecipientsRefused({"ada@example.com": (550, b"5.1.1 no such user")}),
        "sender": smtplib.SMTPSenderRefused(421, b"closing", "noreply@sender.example"),
        "login": smtplib.SMTPAuthenticationError(535, b"5.7.8 wrong"),
        "connect": smtplib.SMTPConnectError(554, "not you"),
        "nobody": smtplib.SMTPRecipientsRefused({}),
        "botocore": caused_by(ClientError("slow down")),
        "urllib": urllib.error.HTTPError("https://api.example/", 403, "Forbidden", Message(), None),
    }

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        raise self.errors[str(email_messages[0].subject)]


@pytest.mark.parametrize(
    ("subject", "phase", "expected"),
    [
        ("recipients", "rcpt", (End.BAD_ADDRESS, "no-address-said")),
        ("sender", "mail", (End.WAIT, "closing-at-mail")),
        ("login", "connect", (End.WAIT, "login")),
        ("connect", "connect", (End.WAIT, "server-refuses-us")),
        ("nobody", "", (End.RETRY, "unknown")),
        ("botocore", "", (End.WAIT, "api-limit")),
        ("urllib", "", (End.WAIT, "api-login")),
    ],
)
def test_other_backends_are_judged_by_what_their_errors_tell(
    settings: DjangoSettings, subject: str, phase: str, expected: tuple[End, str]
) -> None:
    mailer = through(f"{__name__}.FailingBackend", settings)

    outcome = mailer.send(EmailMessage(subject, "Dear Ada", to=["ada@example.com"]), fence=lambda: True)

    assert judged(outcome) == expected
    assert outcome.failure is not None
    assert outcome.failure.phase == phase
