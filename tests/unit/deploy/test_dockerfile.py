"""The Dockerfile, as far as no engine is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import ROOT, dockerfile


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if hadolint is None:
        pytest.skip("hadolint is installed on x86-64 Linux only")

    command = [hadolint, "--failure-threshold", "style", str(ROOT / "Dockerfile")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (said.returncode, said.stdout) == (0, "")


def test_the_image_is_built_in_two_stages_from_a_slim_base_with_a_version() -> None:
    stages = [arguments for name, arguments in dockerfile() if name == "FROM"]

    assert len(stages) == 2
    assert all(re.match(r"python:3\.\d+-slim-[a-z]+( AS build)?$", stage) for stage in stages)
    assert not [name for name, _arguments in dockerfile() if name in ("ADD", "SHELL", "ONBUILD")]


def test_the_image_runs_as_a_numbered_user_without_a_shell_and_tells_its_health() -> None:
    last_stage = dockerfile()[[name for name, _ in dockerfile()].index("FROM", 1) :]
    last = dict(last_stage)

    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert isinstance(json.loads(last["CMD"]), list)
    assert "ENTRYPOINT" not in last
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2])[:3] == ["python", "-m", "config.probe"]
    names = [name for name, _ in last_stage]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))


def test_the_image_holds_no_secret_and_everything_that_it_copies_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        arguments.split()[:-1] for name, arguments in dockerfile() if name == "COPY" and "--from" not in arguments
    ]

    assert {source for sources in copied for source in sources} <= let_in
    assert all((ROOT / source).exists() for source in let_in)
    variables = [word.partition("=")[0] for name, words in dockerfile() if name == "ENV" for word in words.split()]
    assert not [variable for variable in variables if re.search("KEY|TOKEN|PASSWORD|URL", variable)]


def test_a_change_of_the_code_installs_no_dependency_anew() -> None:
    build = dockerfile()[: [name for name, _ in dockerfile()].index("FROM", 1)]
    code = build.index(("COPY", "emailqueue emailqueue"))

    installs = [(index > code, words) for index, (_name, words) in enumerate(build) if "pip install" in words]

    assert [late for late, words in installs if "--constraint" in words] == [False]
    assert [words for late, words in installs if late and "--no-deps" not in words] == []
