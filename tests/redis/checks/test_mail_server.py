"""What the doctor says of a mail server."""

from __future__ import annotations

import pytest
from django.core.checks import ERROR, INFO, WARNING
from pytest_django import Settings

from emailqueue.checks import mail_server
from emailqueue.testing.mailserver import MailServer
from tests.settings import mail_port
from tests.support.doctor import OFF, levels

pytestmark = pytest.mark.usefixtures("only_built_in_types")


@pytest.mark.usefixtures("valkey")
def test_a_mail_server_that_is_not_there_is_an_error(mailbox: MailServer) -> None:
    mailbox.stop()

    [finding] = mail_server.mail_server(OFF, debug=False)

    assert finding.level is ERROR
    assert finding.msg.startswith(f"127.0.0.1:{mail_port} does not accept our connection: ConnectionRefusedError")
    assert finding.hint


@pytest.mark.usefixtures("valkey")
def test_a_login_that_is_refused_is_an_error_without_the_password(mailbox: MailServer, settings: Settings) -> None:
    mailbox.script("auth", ["535 5.7.8 bad credentials"])
    _with_login(settings)

    findings = list(mail_server.mail_server(OFF, debug=False))

    assert levels(findings) == [ERROR]
    assert "535" in findings[0].msg
    assert "s3cret" not in str(findings)


@pytest.mark.usefixtures("valkey")
def test_a_login_without_tls_is_warned_of(mailbox: MailServer, settings: Settings) -> None:
    _with_login(settings)

    findings = list(mail_server.mail_server(OFF, debug=False))

    assert levels(findings) == [INFO, WARNING]
    assert "logged in as 'ada'" in findings[0].msg


@pytest.mark.usefixtures("valkey", "mailbox")
def test_a_server_without_the_tls_that_is_wanted_is_an_error(settings: Settings) -> None:
    if hasattr(settings, "MAILERS"):
        options = {**settings.MAILERS["default"]["OPTIONS"], "use_tls": True}
        settings.MAILERS = {"default": {**settings.MAILERS["default"], "OPTIONS": options}}
    else:
        settings.EMAIL_USE_TLS = True

    [finding] = mail_server.mail_server(OFF, debug=False)

    named = "'use_tls' in the OPTIONS of MAILERS" if hasattr(settings, "MAILERS") else "EMAIL_USE_TLS"
    assert (finding.level, named in str(finding.hint)) == (ERROR, True)


def _with_login(settings: Settings) -> None:
    if hasattr(settings, "MAILERS"):
        options = {**settings.MAILERS["default"]["OPTIONS"], "username": "ada", "password": "s3cret"}
        settings.MAILERS = {"default": {**settings.MAILERS["default"], "OPTIONS": options}}
    else:
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "ada", "s3cret"
