"""What an encrypted connection to Redis asks of the server's certificate: always that it is right."""

import ssl
from urllib.parse import parse_qs, quote, urlsplit

from django.core.exceptions import ImproperlyConfigured

VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
"""Options of redis-py, spelled out: before its version 6 it compared no host name by default."""


def verified(url: str, *, variable: str, ca_file: str = "") -> str:
    """
    Return `url` such that redis-py verifies certificate and host name; one without TLS stays as it is.

    `ca_file` names the authorities that are trusted besides the machine's own. Raises ImproperlyConfigured when
    the URL turns the verification off, or when the file is of no use.
    """
    if urlsplit(url).scheme != "rediss":
        if ca_file:
            raise ImproperlyConfigured(
                f"REDIS_CA_FILE is {ca_file!r}, but {variable} names a Redis without TLS. Write rediss:// in "
                "REDIS_URL, or REDIS_TLS=1 beside REDIS_HOST, or unset REDIS_CA_FILE."
            )
        return url
    given = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    for name, value in VERIFIED.items():
        if given.get(name, value).lower() != value:
            raise ImproperlyConfigured(
                f"{variable} has {name}={given[name]!r}, with which anyone can pose as your Redis. Leave it out, and "
                "name the file of your certificate authority in REDIS_CA_FILE if it has one of its own."
            )
    if file := given.get("ssl_ca_certs", ca_file):
        _check(file, variable="REDIS_CA_FILE" if file == ca_file else variable)
    authorities = {"ssl_ca_certs": quote(ca_file, safe="/")} if ca_file else {}
    return with_options(url, **VERIFIED, **authorities)


def with_options(url: str, **options: str) -> str:
    """Return `url` with these options of redis-py in its query, but for those that it has already."""
    given = parse_qs(urlsplit(url).query)
    added = "&".join(f"{name}={value}" for name, value in options.items() if name not in given)
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url


def is_verified(options: dict[str, object]) -> bool:
    """Return whether a connection with these options of redis-py verifies the certificate of its server."""
    required = options.get("ssl_cert_reqs", "required") in ("required", ssl.CERT_REQUIRED)
    return required and options.get("ssl_check_hostname", True) is True


def _check(ca_file: str, *, variable: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=ca_file)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = "cannot be read" if not isinstance(error, ssl.SSLError) else "holds no certificate"
        raise ImproperlyConfigured(
            f"{variable} names {ca_file!r} as the file of your certificate authority, which {reason}. Write the path "
            "of a file in PEM format, which begins with -----BEGIN CERTIFICATE-----."
        ) from error
