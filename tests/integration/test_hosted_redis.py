from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trustme
from django.core.checks import CheckMessage
from pytest_django import Settings

from emailqueue import queue_email
from emailqueue.embedded import EmbeddedValkey
from emailqueue.redis import connect, find_redis, rq_queues
from emailqueue.redis_report import describe_redis
from emailqueue.testing import MailServer
from tests.conftest import StartWorker, eventually
from tests.tls_proxy import TlsProxy

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def only_problem(settings: Settings, url: str) -> CheckMessage:
    settings.RQ_QUEUES = rq_queues(url)
    (problem,) = describe_redis().problems
    return problem


@pytest.mark.parametrize("tls_by", ["REDIS_URL", "REDIS_HOST"])
def test_a_mail_goes_through_a_worker_over_tls_with_an_authority_of_ones_own(
    authority: trustme.CA,
    ca_file: Path,
    valkey_server: EmbeddedValkey,
    mailbox: MailServer,
    start_worker: StartWorker,
    settings: Settings,
    tls_by: str,
) -> None:
    with TlsProxy(valkey_server.socket, authority=authority) as proxy:
        host, _, port = proxy.place.partition(":")
        by_host = {"REDIS_URL": "", "REDIS_HOST": host, "REDIS_PORT": port, "REDIS_TLS": "1"}
        environ = by_host if tls_by == "REDIS_HOST" else {"REDIS_URL": f"rediss://{proxy.place}/0"}
        environ["REDIS_CA_FILE"] = str(ca_file)
        worker = start_worker(**environ).ready()
        settings.RQ_QUEUES = rq_queues(find_redis(environ).url)
        queue_email("vote-confirmation", "ada@example.com", VOTE)

        mailbox.wait_for(1)

        assert [mail.recipient for mail in mailbox.messages] == ["ada@example.com"]
        assert proxy.clients >= 3
        assert f"at rediss://{proxy.place}/0: Valkey " in worker.log.read_text()
        assert worker.stop() == 0


def test_a_certificate_of_an_unknown_authority_is_refused(
    valkey_server: EmbeddedValkey, settings: Settings, ca_file: Path
) -> None:
    with TlsProxy(valkey_server.socket, authority=trustme.CA()) as proxy:
        problems = [
            only_problem(settings, f"rediss://{proxy.place}{query}") for query in ("", f"?ssl_ca_certs={ca_file}")
        ]

        assert [problem.id for problem in problems] == ["emailqueue.E004"] * 2
        assert all("is not trusted: " in problem.msg for problem in problems)
        assert all("REDIS_CA_FILE" in str(problem.hint) for problem in problems)
        assert proxy.clients == 0


def test_a_certificate_for_another_host_is_refused(
    authority: trustme.CA, ca_file: Path, valkey_server: EmbeddedValkey, settings: Settings
) -> None:
    with TlsProxy(valkey_server.socket, authority=authority, name="other.example") as proxy:
        problem = only_problem(settings, f"rediss://{proxy.place}?ssl_ca_certs={ca_file}")

        assert problem.id == "emailqueue.E004"
        assert "127.0.0.1" in problem.msg.partition("is not trusted: ")[2]
        assert str(problem.hint).startswith("Name the host as the certificate does in rq_queues(url)")
        assert proxy.clients == 0


def test_the_read_only_token_of_upstash_is_refused_with_a_sentence(
    authority: trustme.CA, ca_file: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as valkey, TlsProxy(valkey.socket, authority=authority) as proxy:
        settings.RQ_QUEUES = rq_queues(valkey.url)
        connect().acl_setuser(
            "default",
            reset=True,
            enabled=True,
            passwords=["+read-only-token"],
            keys=["*"],
            categories=["+@read", "+@connection"],
        )
        host, _, port = proxy.place.partition(":")
        environ = {
            "REDIS_URL": "",
            "UPSTASH_REDIS_REST_URL": f"https://{host}",
            "UPSTASH_REDIS_REST_TOKEN": "read-only-token",
            "UPSTASH_REDIS_PORT": port,
            "REDIS_CA_FILE": str(ca_file),
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        settings.RQ_QUEUES = rq_queues()

        (problem,) = describe_redis().problems

        assert problem.id == "emailqueue.E007"
        assert f"Redis at rediss://{proxy.place}/0 lets this user or token not write" in problem.msg
        assert str(problem.hint) == (
            "Give the standard token in UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN, or a user who may run every "
            "command, not a read-only one."
        )
        assert "read-only-token" not in f"{problem!r}"


@pytest.mark.usefixtures("transactional_db")
def test_a_worker_with_a_read_only_user_ends_at_once_with_a_sentence(
    tmp_path: Path, settings: Settings, start_worker: StartWorker
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with EmbeddedValkey(tmp_path / "valkey", port=port) as valkey:
        settings.RQ_QUEUES = rq_queues(valkey.url)
        connect().acl_setuser(
            "reader", enabled=True, passwords=["+hush"], keys=["*"], categories=["+@read", "+@connection"]
        )
        worker = start_worker(REDIS_URL=f"redis://reader:hush@127.0.0.1:{port}/0")

        eventually(lambda: worker.process.poll() is not None, timeout=20)

        log = worker.log.read_text()
        assert worker.process.returncode == 1
        assert "lets this user or token not write" in log
        assert "Give the standard token in REDIS_URL" in log
        assert "Traceback" not in log
        assert "hush" not in log
        assert "worker started" not in log
