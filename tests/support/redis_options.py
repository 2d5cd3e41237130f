from __future__ import annotations

import redis


def options(url: str) -> dict[str, object]:
    """Return what redis-py makes of a URL."""
    return redis.ConnectionPool.from_url(url).connection_kwargs
