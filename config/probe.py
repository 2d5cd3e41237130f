"""Asks the web on this machine whether it is well, for a container's health check: `python -m config.probe PATH`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

TIMEOUT = 5.0
"""Seconds; the view itself waits for one at most while Redis hangs."""


def ask(path: str, *, port: int = 8000, environ: Mapping[str, str] = os.environ) -> tuple[bool, str]:
    """Return whether the answer is a good one, and the answer."""
    # The request names a host that Django answers to, and says that the proxy in front spoke TLS.
    host = environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".*") or "localhost"
    headers = {"Host": host, "X-Forwarded-Proto": "https"}
    request = Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  likewise
            return answer.status == 200, answer.read(1000).decode("utf-8", "replace")
    except HTTPError as error:
        return False, error.read(1000).decode("utf-8", "replace")
    except (URLError, OSError) as error:
        return False, str(error)


if __name__ == "__main__":
    well, told = ask(sys.argv[1] if len(sys.argv) > 1 else "/health/", port=int(os.environ.get("PORT") or 8000))
    sys.stdout.write(f"{told}\n")
    sys.exit(0 if well else 1)
