"""What the doctor says of a mail server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
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
def test_a_server_without_the_tls_that_is_asked_for_is_an_error(settings: Settings) -> None:
    _with_options(settings, use_tls=True)

    [finding] = mail_server.mail_server(OFF, debug=False)

    assert (finding.level, _named(settings, "use_tls") in str(finding.hint)) == (ERROR, True)


@pytest.mark.usefixtures("valkey", "mailbox")
def test_tls_from_the_first_byte_towards_a_server_without_it_is_an_error(settings: Settings) -> None:
    _with_options(settings, use_ssl=True)

    [finding] = mail_server.mail_server(OFF, debug=False)

    assert (finding.level, "speaks it from the first byte" in str(finding.hint)) == (ERROR, True)


@pytest.mark.usefixtures("valkey", "mailbox")
def test_tls_that_is_offered_and_not_used_is_warned_of(settings: Settings, server_with_tls: int) -> None:
    _with_options(settings, port=server_with_tls)

    findings = list(mail_server.mail_server(OFF, debug=False))

    assert [(finding.level, finding.id) for finding in findings] == [
        (INFO, "mail-server.answers"),
        (WARNING, "mail-server.tls-unused"),
    ]


@pytest.mark.usefixtures("valkey", "mailbox")
def test_a_certificate_that_nobody_trusts_is_an_error(settings: Settings, server_with_tls: int) -> None:
    _with_options(settings, port=server_with_tls, use_tls=True)

    [finding] = mail_server.mail_server(OFF, debug=False)

    assert finding.level == ERROR
    assert str(finding.hint).startswith(f"Name the host in {_named(settings, 'host')} as its certificate does")


@pytest.fixture
def server_with_tls() -> Iterator[int]:
    """The port of a mail server that offers STARTTLS, with a certificate of an authority of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    controller = Controller(Sink(), hostname="127.0.0.1", port=port, tls_context=context)
    controller.start()
    yield port
    controller.stop()


def _with_login(settings: Settings) -> None:
    _with_options(settings, username="ada", password="s3cret")


def _with_options(settings: Settings, **options: object) -> None:
    if hasattr(settings, "MAILERS"):
        default = settings.MAILERS["default"]
        settings.MAILERS = {"default": {**default, "OPTIONS": {**default["OPTIONS"], **options}}}
        return
    names = {"username": "EMAIL_HOST_USER", "password": "EMAIL_HOST_PASSWORD"}
    for option, value in options.items():
        setattr(settings, names.get(option, f"EMAIL_{option.upper()}"), value)


def _named(settings: Settings, option: str) -> str:
    return f"{option!r} in the OPTIONS of MAILERS" if hasattr(settings, "MAILERS") else f"EMAIL_{option.upper()}"
