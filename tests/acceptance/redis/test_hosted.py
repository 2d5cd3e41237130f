from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from django.core.checks import CheckMessage
from pytest_django import Settings
from redis import Redis

from emailqueue import queue_email
from emailqueue.redis import find_redis, rq_queues
from emailqueue.redis.embedded import EmbeddedValkey
from emailqueue.redis.report import describe_redis
from emailqueue.testing import MailServer
from tests.conftest import StartWorker
from tests.support.tls_proxy import TlsProxy

STANDARD, READ_ONLY = "standard-secret", "read-only-secret"
READ_ONLY_USER = "default_ro"
VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def trusted(authority: trustme.CA, valkey_server: EmbeddedValkey) -> TlsProxy:
    return TlsProxy(valkey_server.socket, authority=authority)


def only_problem(settings: Settings, url: str) -> CheckMessage:
    settings.RQ_QUEUES = rq_queues(url)
    (problem,) = describe_redis().problems
    return problem


@pytest.mark.parametrize("tls_by", ["REDIS_URL", "REDIS_HOST"])
def test_a_mail_goes_through_a_worker_over_tls_with_an_authority_of_ones_own(
    trusted: TlsProxy, ca_file: Path, mailbox: MailServer, start_worker: StartWorker, settings: Settings, *, tls_by: str
) -> None:
    with trusted as proxy:
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


@pytest.fixture
def upstash(tmp_path: Path, authority: trustme.CA) -> Iterator[TlsProxy]:
    """A Valkey behind TLS with the two users of a database at Upstash; READ_ONLY_USER may only read."""
    with EmbeddedValkey(tmp_path / "upstash") as valkey, TlsProxy(valkey.socket, authority=authority) as proxy:
        admin = Redis.from_url(valkey.url)
        admin.acl_setuser(
            READ_ONLY_USER, enabled=True, passwords=[f"+{READ_ONLY}"], keys=["*"], categories=["+@read", "+@connection"]
        )
        admin.config_set("requirepass", STANDARD)
        admin.close()
        yield proxy


def upstash_environ(proxy: TlsProxy, ca_file: Path, token: str) -> dict[str, str]:
    host, _, port = proxy.place.partition(":")
    return {
        "REDIS_URL": "",
        "UPSTASH_REDIS_REST_URL": f"https://{host}",
        "UPSTASH_REDIS_REST_TOKEN": token,
        "UPSTASH_REDIS_PORT": port,
        "REDIS_CA_FILE": str(ca_file),
    }


def test_the_standard_token_of_upstash_is_the_password_of_the_default_user(
    upstash: TlsProxy, ca_file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in upstash_environ(upstash, ca_file, STANDARD).items():
        monkeypatch.setenv(name, value)
    settings.RQ_QUEUES = rq_queues()

    report = describe_redis()

    assert report.problems == ()
    assert str(report).startswith("Redis found by UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN at rediss://")


@pytest.mark.usefixtures("transactional_db")
def test_a_worker_with_the_read_only_token_of_upstash_ends_with_a_sentence(
    upstash: TlsProxy, ca_file: Path, start_worker: StartWorker
) -> None:
    worker = start_worker(**upstash_environ(upstash, ca_file, READ_ONLY))

    code = worker.process.wait(60)

    log = worker.log.read_text()
    assert code == 1
    assert "refuses the token, as Upstash does with a read-only one. Copy the standard token into UPSTASH" in log
    assert "Traceback" not in log
    assert READ_ONLY not in log
    assert "worker started" not in log


@pytest.mark.usefixtures("transactional_db")
def test_a_worker_whose_user_may_only_read_ends_with_a_sentence(
    upstash: TlsProxy, ca_file: Path, start_worker: StartWorker
) -> None:
    url = f"rediss://{READ_ONLY_USER}:{READ_ONLY}@{upstash.place}/0"
    worker = start_worker(REDIS_URL=url, REDIS_CA_FILE=str(ca_file))

    code = worker.process.wait(60)

    log = worker.log.read_text()
    assert code == 1
    assert "lets this user or token not write: " in log
    assert "Give the standard token in REDIS_URL, or a user who may run every command, not a read-only one." in log
    assert "Traceback" not in log
    assert READ_ONLY not in log
    assert "worker started" not in log
