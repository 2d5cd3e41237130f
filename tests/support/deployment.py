"""What deploy/ and the Dockerfile say, read as the tests need it."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import yaml

from emailqueue.conf import Settings
from emailqueue.worker.threads import GRACE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
LONGEST = Settings().job_timeout + GRACE
"""Seconds that a worker may take to end in good order."""


def known_variables() -> set[str]:
    """Return the variables of the environment that the project reads."""
    sources = "".join((ROOT / path).read_text() for path in ("config/settings.py", "emailqueue/redis/discovery.py"))
    readers = r'\b(?:text|words|switch|number|choice|database|_read|_read_number)\((?:environ, )?"([A-Z_]+)"'
    listed = re.findall(r'"([A-Z][A-Z_]+)": "([A-Z_]+)"', sources)
    upstash = {"UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"}
    return {*re.findall(readers, sources), *(variable for _key, variable in listed), *upstash}


def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, the continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    lines = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(name, arguments.strip()) for name, _blank, arguments in lines]


def manifests() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


def manifest(kind: str, name: str = "emailqueue") -> dict[str, Any]:
    [found] = [each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> dict[str, dict[str, Any]]:
    """Return the specification of each pod by the name of its container."""
    specs = [each["spec"]["template"]["spec"] for each in manifests() if each["kind"] in ("Deployment", "Job")]
    return {spec["containers"][0]["name"]: spec for spec in specs}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(DEPLOY / "systemd" / name)
    return parsed


UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())
