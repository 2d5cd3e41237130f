"""The Lua scripts: how one is composed of the parts that it needs, and run."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError
from rq.defaults import RQ_KEY_PREFIX

from emailqueue.conf import get_settings

LUA = Path(__file__).parent / "lua"
NEEDS = re.compile(r"(?m)^-- needs: (.*)$")


def run(connection: Redis, name: str, *arguments: Any) -> Any:
    """Run a script in one round trip. Raises redis.RedisError."""
    prefix = get_settings().queue_prefix
    try:
        return connection.evalsha(_digest(name, prefix), 0, *arguments)
    except NoScriptError:  # the first time, and after each start of Redis
        return connection.eval(source(name, prefix), 0, *arguments)


@cache
def source(name: str, prefix: str = "") -> str:
    """Return the text of a script: the parts that it and they need, each once, and the script itself."""
    parts: dict[str, str] = {}

    def add(file: Path) -> None:
        text = file.read_text()
        for part in " ".join(NEEDS.findall(text)).split():
            if part not in parts:
                add(LUA / "parts" / f"{part}.lua")
        parts[file.stem] = text

    add(LUA / f"{name}.lua")
    return f"local RQ, PREFIX = '{RQ_KEY_PREFIX}', '{prefix}'\n" + "".join(parts.values())


@cache
def _digest(name: str, prefix: str) -> str:
    return sha1(source(name, prefix).encode(), usedforsecurity=False).hexdigest()
