"""Commands and variables of all that is deployed."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.management import get_commands

from emailqueue.jobs.priority import QUEUES
from emailqueue.management.commands.emailqueue import VERBS
from tests.support.deployment import DEPLOY, ROOT, UNITS, compose, dockerfile, known_variables, manifest, pods, unit


def commands() -> Iterator[Sequence[str]]:
    """Yield every command line in deploy/ and the Dockerfile, as words."""
    for name, arguments in dockerfile():
        if name == "CMD":
            yield json.loads(arguments)
        elif name == "HEALTHCHECK":
            yield json.loads(arguments.partition("CMD ")[2])
    for service in compose()["services"].values():
        yield from ([service["command"]] if "command" in service else [])
        yield from ([service["healthcheck"]["test"][1:]] if "test" in service.get("healthcheck", {}) else [])
    for spec in pods().values():
        yield from _of_container(spec["containers"][0])
    for name in UNITS:
        yield shlex.split(unit(name)["Service"]["ExecStart"])
    for line in (DEPLOY / "Procfile").read_text().splitlines():
        yield shlex.split(line.partition(":")[2])


def _of_container(container: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    if "command" in container:
        yield container["command"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if "exec" in container.get(probe, {}):
            yield container[probe]["exec"]["command"]


def test_each_command_exists() -> None:
    ours = [list(words) for words in commands()]

    verbs = [words[words.index("manage.py") + 1 :] for words in ours if "manage.py" in words]
    modules = [words[words.index("-m") + 1] for words in ours if "-m" in words]
    assert len(verbs) >= 8
    assert {verb[0] for verb in verbs} <= get_commands().keys()
    assert {verb[1] for verb in verbs if verb[0] == "emailqueue"} <= VERBS.keys()
    assert {tuple(verb[1:]) for verb in verbs if verb[0] == "rqworker"} == {QUEUES}
    assert set(modules) == {"config.probe", "emailqueue.worker.heartbeat"}
    assert all((ROOT / f"{module.replace('.', '/')}.py").is_file() for module in modules)


def test_each_command_of_gunicorn_is_one_that_it_takes() -> None:
    servers = {tuple(words) for words in commands() if Path(words[0]).name == "gunicorn"}

    for _program, *arguments in servers:
        checked = [argument.replace("$PORT", "8000") for argument in arguments]
        subprocess.run([sys.executable, "-m", "gunicorn", "--check-config", *checked], cwd=ROOT, check=True, timeout=60)

    assert len(servers) == 3


def test_each_variable_is_one_that_the_project_reads() -> None:
    known = known_variables()
    services = compose()["services"]
    named = {name for service in ("migrate", "web", "worker") for name in services[service]["environment"]}
    named |= manifest("ConfigMap")["data"].keys() | manifest("Secret")["stringData"].keys()
    named |= {entry["name"] for spec in pods().values() for entry in spec["containers"][0].get("env", [])}
    named |= {unit(name)["Service"].get("Environment", "").partition("=")[0] for name in UNITS} - {""}

    assert {"REDIS_URL", "DATABASE_URL", "LOG_FORMAT", "EMAIL_HEARTBEAT_FILE", "SECRET_KEY"} <= named
    assert named - known == set()


def test_no_part_of_a_deployment_goes_without_what_it_cannot_start_without() -> None:
    needed = {"SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL", "EMAIL_HOST", "FRONTEND_URL"}
    kubernetes = manifest("ConfigMap")["data"].keys() | manifest("Secret")["stringData"].keys()

    assert needed - kubernetes == set()
    assert needed - compose()["services"]["web"]["environment"].keys() == set()


def test_the_procfile_names_the_web_the_worker_and_what_comes_before() -> None:
    lines = dict(line.split(": ", 1) for line in (DEPLOY / "Procfile").read_text().splitlines())

    assert lines.keys() == {"release", "web", "worker"}
    assert "$PORT" in lines["web"]


def test_python_in_commands_is_python() -> None:
    snippets = [words[words.index("-c") + 1] for words in _lifecycles() if "-c" in words]

    assert snippets
    assert all(ast.parse(snippet) for snippet in snippets)


def _lifecycles() -> Iterator[Sequence[str]]:
    for spec in pods().values():
        for hook in spec["containers"][0].get("lifecycle", {}).values():
            yield hook["exec"]["command"]
