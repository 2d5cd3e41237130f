"""docs/operations.md, held against what there is."""

from __future__ import annotations

import logging.config
import re
from dataclasses import fields
from importlib import import_module
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.test import Client
from redis import Redis

from config.environment import PATIENCE
from config.urls import urlpatterns
from emailqueue.conf import Settings
from emailqueue.management.commands.emailqueue import VERBS
from emailqueue.worker.threads import GRACE
from tests.redis.statistics.test_prometheus import TOKEN
from tests.support.deployment import ROOT, known_variables

PAGE = (ROOT / "docs" / "operations.md").read_text()
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
CODE = [*SPANS, *re.findall(r"(?m)^    (\S.*)$", PAGE)]


def in_code(pattern: str) -> set[str]:
    return {found for code in CODE for found in re.findall(pattern, code)}


def test_each_command_and_variable_of_the_page_exists() -> None:
    verbs = in_code(r"manage\.py (\w+)")
    ours = in_code(r"manage\.py emailqueue (\w+)")
    settings = {"EMAIL_QUEUE", *(field.name.upper() for field in fields(Settings))}
    variables = in_code(r"^([A-Z][A-Z_]+)$") - (settings - known_variables())

    assert verbs <= get_commands().keys()
    assert ours <= VERBS.keys()
    assert {"doctor", "stats", "alive"} <= ours
    assert variables <= known_variables()
    assert len(variables) >= 5
    assert in_code(r'EMAIL_QUEUE\["(\w+)"\]') <= {field.name.upper() for field in fields(Settings)}


@pytest.mark.parametrize("line", sorted(in_code(r"manage\.py emailqueue (\w+ --[\w -]+|\w+)")))
def test_each_option_of_the_page_is_taken(line: str) -> None:
    parser = load_command_class("emailqueue", "emailqueue").create_parser("manage.py", "emailqueue")

    taken = parser.parse_args([word if "@" not in word else "a@example.com" for word in _complete(line).split()])

    assert taken.verb == line.split(maxsplit=1)[0]


def _complete(line: str) -> str:
    return f"{line} you@example.com" if line.endswith("--mail") else line


def test_each_name_in_python_exists() -> None:
    for dotted in in_code(r"(?<![/\w])(emailqueue(?:\.\w+)+)"):
        if (ROOT / f"{dotted.replace('.', '/')}.py").is_file():
            continue
        module, _dot, name = dotted.rpartition(".")
        assert hasattr(import_module(module), name), dotted


def test_each_file_and_address_of_the_page_exists() -> None:
    files = in_code(r"\b((?:deploy|tests)/[\w./@-]*)") - {"deploy/.env"}
    addresses = in_code(r"^(?:GET )?/([a-z]+/)$")

    assert len(files) >= 7
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert addresses == {"alive/", "health/", "metrics/"}
    assert addresses <= {str(getattr(route, "pattern", "")) for route in urlpatterns}
    for name in in_code(r"^([\w@-]+\.(?:service|yaml))$"):
        assert list((ROOT / "deploy").rglob(name)), name


@pytest.mark.django_db(transaction=True)
def test_the_table_of_metrics_is_whole(client: Client, valkey: Redis, queue_settings: Any) -> None:
    queue_settings(STATS_TOKEN=TOKEN)
    valkey.hset("emailqueue:counters", mapping={"low:completed": 1, "completed=offer": 1})

    answer = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"}).content.decode()

    assert in_code(r"(emailqueue_\w+)") == set(re.findall(r"(?m)^# TYPE (emailqueue_\w+)", answer))


def test_the_time_that_the_page_gives_a_worker_is_enough() -> None:
    [seconds] = re.findall(r"give it (\d+) s before SIGKILL", PAGE)

    assert int(seconds) > Settings().job_timeout + GRACE
    assert "(180 s)" in PAGE
    assert Settings().job_timeout == 180
    assert f'`EMAIL_QUEUE["LEASE"]`, {Settings().lease:g} s' in " ".join(PAGE.split())


def test_the_examples_of_the_page_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)  # noqa: S102  our own page
    assert names["DATABASES"]["default"]["OPTIONS"] == PATIENCE
    [scrape] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)]

    logging.config.DictConfigurator(names["LOGGING"]).configure_formatter(names["LOGGING"]["formatters"]["json"])

    assert scrape["scrape_configs"][0]["metrics_path"] == "/metrics/"


def test_the_helps_of_the_verbs_are_sentences() -> None:
    assert all(verb.__doc__ and verb.__doc__.strip().endswith(".") for verb in VERBS.values())
