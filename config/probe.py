"""Asks the web on this machine whether it is well, for a container's health check: `python -m config.probe PATH`."""

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

TIMEOUT = 5.0
"""Seconds; the view itself waits for one at most while Redis hangs, and for three for a database that hangs."""


def ask(path: str, *, port: int = 8000, environ: Mapping[str, str] = os.environ) -> tuple[bool, str]:
    """Return whether the answer is a good one, and the answer. A redirect is none: nobody has looked yet."""
    # The request names a host that Django answers to, and says that the proxy in front spoke TLS.
    host = environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".*") or "localhost"
    # Not by urllib, which follows redirects and asks the proxy that the environment names.
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": host, "X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        told = answer.read(1000).decode("utf-8", "replace")
        return answer.status == 200, _sentence(answer.status, answer.getheader("Location")) or told
    except (OSError, HTTPException) as error:
        return False, str(error) or type(error).__name__
    finally:
        connection.close()


def _sentence(status: int, location: str | None) -> str:
    """Return what is to be done where the page behind an error would not tell; empty: the page tells."""
    if location:
        return f"The web redirects to {location}. Where SECURE_SSL_REDIRECT is on, set SECURE_PROXY_SSL_HEADER, too."
    if status == 400:
        return "The web refuses the request: is ALLOWED_HOSTS the same for the web and for this probe?"
    return ""


if __name__ == "__main__":
    well, told = ask(sys.argv[1] if len(sys.argv) > 1 else "/health/", port=int(os.environ.get("PORT") or 8000))
    sys.stdout.write(f"{told}\n")
    sys.exit(0 if well else 1)
