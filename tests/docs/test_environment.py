"""docs/environment.md, held against what the code reads."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from emailqueue.conf import Settings
from emailqueue.redis import find_redis
from tests.support.tables import ROOT, code, page, section, table

PAGE = page("environment")
VARIABLES = {
    name
    for header in (("variable", "default", "meaning"), ("variable", "set by", "read for"))
    for row in table(PAGE, *header)
    for name in code(row[0])
}
RECORD = """
import os, sys

class Recorder(dict):
    def _note(self, name):
        if sys._getframe(2).f_code.co_filename.startswith(sys.argv[1]):
            print(name)
    def get(self, name, default=None):
        self._note(name)
        return super().get(name, default)
    def __getitem__(self, name):
        self._note(name)
        return super().__getitem__(name)

os.environ = Recorder(os.environ)
import config.settings
"""
"""Loads the example project's settings and prints each variable that a module of ours asks for."""


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, **variables: str) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def test_each_variable_that_the_code_reads_has_a_row_and_each_row_is_read() -> None:
    read = {*read_by_the_settings(), *read_by_redis(), *read_by_name(), *read_by_compose()}

    assert read == VARIABLES


def test_the_settings_are_recorded() -> None:
    assert {"DEBUG", "EMAIL_CONCURRENCY", "REDIS_URL"} <= read_by_the_settings()


def test_redis_variables_count_in_the_order_of_the_page() -> None:
    rows = [code(names) for names, *_rest in table(PAGE, "variable", "default", "meaning") if "REDIS" in names]
    values = {"REDIS_URL": "redis://first", "UPSTASH_REDIS_REST_URL": "https://second.upstash.io"}
    environ = {"UPSTASH_REDIS_REST_TOKEN": "token", "UPSTASH_REDIS_PORT": "7000", "REDIS_HOST": "third"} | values

    found = []
    for names in rows:
        found.append(find_redis(environ).url.partition("?")[0])
        environ = {name: value for name, value in environ.items() if name not in names}

    assert found[0] == "redis://first"
    assert found[1] == "rediss://default:token@second.upstash.io:7000"
    assert found[3] == "redis://third:6379/0"


def test_the_port_that_kubernetes_sets_is_refused_as_the_page_says() -> None:
    [port] = re.findall(r"`(tcp://\S+)`", section(PAGE, "Redis"))

    with pytest.raises(ImproperlyConfigured, match="REDIS_PORT"):
        find_redis({"REDIS_PORT": port})


def test_each_key_of_email_queue_on_the_page_exists() -> None:
    keys = re.findall(r'`EMAIL_QUEUE\["(\w+)"\]`', PAGE.path.read_text())

    assert len(keys) == 8
    assert [key for key in keys if not hasattr(Settings(), key.lower())] == []


def read_by_the_settings() -> set[str]:
    command = [sys.executable, "-c", RECORD, str(ROOT)]
    ran = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def read_by_redis() -> set[str]:
    upstash = {"UPSTASH_REDIS_REST_URL": "https://name.upstash.io", "UPSTASH_REDIS_REST_TOKEN": "token"}
    environs = [Asked(), Asked(REDIS_URL="redis://there"), Asked(REDIS_HOST="there"), Asked(**upstash)]
    for environ in environs:
        find_redis(environ)
    return set().union(*(environ.names for environ in environs))


def read_by_name() -> Iterator[str]:
    """Yield the names that our modules read from os.environ, or from what stands for it, without a reader."""
    for folder in ("config", "emailqueue", "events"):
        for file in (ROOT / folder).rglob("*.py"):
            yield from _names_in(file)


def _names_in(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text())
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr="get" | "setdefault"), args=[name, *_]):
                pass
            case ast.Subscript(value=owner, slice=name) | ast.Compare(left=name, comparators=[owner]):
                pass
            case _:
                continue
        if ast.unparse(owner) not in ("environ", "os.environ"):
            continue
        if isinstance(name, ast.Constant):
            yield str(name.value)
        elif isinstance(name, ast.Name) and name.id in constants:
            yield str(constants[name.id])


def read_by_compose() -> set[str]:
    """Return what deploy/ wants to be told from outside."""
    written = "".join((ROOT / "deploy" / name).read_text() for name in ("compose.yaml", "Procfile", "env.example"))
    return {*re.findall(r"\$\{?([A-Z_]+)", written), *re.findall(r"(?m)^([A-Z_]+)=", written)}
