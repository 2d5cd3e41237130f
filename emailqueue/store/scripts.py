"""
The Lua scripts: how one is composed of the parts that it needs, and run.

A part is a table of its name, to which its file adds what others call. Redis runs the whole text for each call. So a
file says in its head what it needs, and what it may need: that is run when something of it is first asked for.
"""

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
MENTIONS = re.compile(r"(?m)^-- (?:may need|needs): (.*)$")
KEY = re.compile(r"(?m)^keys\.(\w+) = ('.*')\n")
NEEDED = "local {name} = {{}}\ndo\n{text}end\n"
MAYBE_NEEDED = "local {name} = setmetatable({{ function({name})\n{text}end }}, when_needed)\n"
WHEN_NEEDED = """
local when_needed = {
  __index = function(part, name)
    setmetatable(part, nil)
    part[1](part)
    return part[name]
  end,
}
"""


def run(connection: Redis, name: str, *arguments: Any) -> Any:
    """Run a script in one round trip. Raises redis.RedisError."""
    prefix = get_settings().queue_prefix
    try:
        return connection.evalsha(_digest(name, prefix), 0, *arguments)
    except NoScriptError:  # the first time, and after each start of Redis
        return connection.eval(source(name, prefix), 0, *arguments)


@cache
def source(name: str, prefix: str = "") -> str:
    """Return the text of a script, with the keys and all parts before it. `prefix`: of the names of our queues."""
    begins = _part("keys")
    keys = dict(KEY.findall(begins))
    script = (LUA / f"{name}.lua").read_text()
    needed, mentioned = _parts(script, NEEDS), _parts(script, MENTIONS)
    parts = [(NEEDED if part in needed else MAYBE_NEEDED).format(name=part, text=mentioned[part]) for part in mentioned]
    text = "".join([KEY.sub("", begins), WHEN_NEEDED if len(mentioned) > len(needed) else "", *parts, script])
    text = re.sub(r"\bkeys\.(\w+)", lambda match: keys[match[1]], text)
    return text.replace("{RQ}", RQ_KEY_PREFIX).replace("{PREFIX}", prefix)


def _parts(text: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """Return what `text` mentions, and what that mentions, each before those that mention it."""
    parts: dict[str, str] = {}
    for part in " ".join(pattern.findall(text)).split():
        parts |= {**_parts(_part(part), pattern), part: _part(part)}
    return parts


def _part(name: str) -> str:
    return (LUA / "parts" / f"{name}.lua").read_text()


@cache
def _digest(name: str, prefix: str) -> str:
    return sha1(source(name, prefix).encode(), usedforsecurity=False).hexdigest()
