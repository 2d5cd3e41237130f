"""What the doctor says of the backend that delivers."""

from __future__ import annotations

import pytest
from django.core.checks import ERROR, INFO, WARNING
from pytest_django import Settings

from emailqueue.checks import mail_server
from emailqueue.delivery.mailers import new_backend
from emailqueue.testing.mailserver import MailServer
from tests.support.doctor import OFF, levels


@pytest.mark.parametrize(("debug", "level"), [(True, WARNING), (False, ERROR)])
@pytest.mark.parametrize("name", ["console", "locmem"])
def test_a_backend_that_delivers_to_nobody_is_no_mail_server(
    settings: Settings, name: str, *, debug: bool, level: int
) -> None:
    _with_backend(settings, f"django.core.mail.backends.{name}.EmailBackend")

    assert levels(mail_server.mail_server(OFF, debug=debug)) == [level]


def test_a_backend_of_an_api_is_named(settings: Settings) -> None:
    _with_backend(settings, "anymail.backends.test.EmailBackend")

    [finding] = mail_server.mail_server(OFF, debug=False)

    assert finding.level is INFO
    assert finding.msg.startswith("Mails go to anymail.backends.test.EmailBackend, which is no SMTP")


def test_a_backend_that_cannot_be_made_is_an_error(settings: Settings) -> None:
    _with_backend(settings, "shop.mail.Gone")

    assert levels(mail_server.mail_server(OFF, debug=False)) == [ERROR]
    assert mail_server.mail_timeout(OFF) is None


def test_no_test_mail_is_tried_where_the_connection_was_refused(mailbox: MailServer) -> None:
    mailbox.stop()

    findings = list(mail_server.mail(OFF, debug=True, to="ada@example.com"))

    assert [finding.id for finding in findings] == ["mail-server.refused", "test-mail.not-sent"]


def test_a_test_mail_waits_no_longer_for_an_answer_than_the_doctor_does(mailbox: MailServer) -> None:
    usual, impatient = new_backend(OFF), mail_server.impatient_backend(OFF)

    assert (usual.timeout, impatient.timeout) == (60, mail_server.PATIENCE)  # type: ignore[attr-defined]  # of SMTP


@pytest.mark.usefixtures("mailbox")
def test_the_doctor_changes_no_time_out_of_the_workers() -> None:
    list(mail_server.mail_server(OFF, debug=False))

    assert mail_server.mail_timeout(OFF) == getattr(new_backend(OFF), "timeout", None) == 60


def _with_backend(settings: Settings, path: str) -> None:
    if hasattr(settings, "MAILERS"):
        settings.MAILERS = {"default": {"BACKEND": path}}
    else:
        settings.EMAIL_BACKEND = path
