"""docs/commands.md, held against the parsers, and every command line that we write anywhere."""

from __future__ import annotations

import re
import shlex
from argparse import Action, ArgumentParser, _SubParsersAction
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from emailqueue.worker.heartbeat import STALE_AFTER
from tests.support.pages import Page
from tests.support.tables import ROOT, code, page, section, table

PAGE = page("commands")
DJANGOS = {
    option for action in BaseCommand().create_parser("manage.py", "x")._actions for option in action.option_strings
}
WITH_VERBS = ("emailqueue", "events")
WITH_OPTIONS = ("rqworker", "rqworker-pool", "quickstart", "screenshots")
FILES = [ROOT / "Dockerfile", *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
PAGES = [Page(path) for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]]


def parser(command: str) -> ArgumentParser:
    return load_command_class(get_commands()[command], command).create_parser("manage.py", command)


def verbs(command: str) -> dict[str, ArgumentParser]:
    [subparsers] = [action for action in parser(command)._actions if isinstance(action, _SubParsersAction)]
    return dict(subparsers.choices)


def options(of: ArgumentParser) -> set[str]:
    return {option for action in of._actions for option in action.option_strings if option.startswith("--")} - DJANGOS


def arguments(of: ArgumentParser) -> list[Action]:
    return [action for action in of._actions if not action.option_strings]


def rows(command: str) -> list[list[str]]:
    """Return the rows of the first table below the heading of a command."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section(PAGE, f"manage.py {command}").splitlines()
        if line.startswith("| `")
    ]


@pytest.mark.parametrize("command", WITH_VERBS)
def test_each_verb_has_a_row_and_each_row_is_a_verb(command: str) -> None:
    told = [code(row[0])[0] for row in rows(command) if len(row) == 3]

    assert sorted(told) == sorted(verbs(command))


@pytest.mark.parametrize(("command", "verb"), [(command, verb) for command in WITH_VERBS for verb in verbs(command)])
def test_each_option_and_argument_of_a_verb_is_told_and_is_taken(command: str, verb: str) -> None:
    [takes] = [code(row[1]) for row in rows(command) if code(row[0]) == [verb]]
    told = {word.partition(" ")[0] for word in takes if word.startswith("--")}

    assert told == options(verbs(command)[verb])
    assert len([word for word in takes if not word.startswith("--")]) == len(arguments(verbs(command)[verb]))


@pytest.mark.parametrize(("command", "verb"), [(command, verb) for command in WITH_VERBS for verb in verbs(command)])
def test_a_verb_takes_each_option_of_django_that_its_command_takes(command: str, verb: str) -> None:
    before = {action.dest: action for action in parser(command)._actions if set(action.option_strings) & DJANGOS}

    behind = {action.dest: action for action in verbs(command)[verb]._actions if set(action.option_strings) & DJANGOS}

    assert behind.keys() == before.keys() >= {"settings", "verbosity", "traceback"}
    for name, action in behind.items():
        assert action.option_strings == before[name].option_strings
        assert (action.nargs, action.type, action.choices) == (
            before[name].nargs,
            before[name].type,
            before[name].choices,
        )


@pytest.mark.parametrize(
    "words",
    [["emailqueue", "-v", "2", "stats"], ["emailqueue", "stats", "-v", "2"], ["events", "list", "--verbosity=2"]],
)
def test_what_is_said_before_a_verb_counts_as_what_is_said_behind_it(words: list[str]) -> None:
    command, *rest = words

    given = parser(command).parse_args(rest)

    assert (given.verbosity, given.traceback, given.settings) == (2, False, None)


@pytest.mark.parametrize("command", WITH_OPTIONS)
def test_each_option_of_a_command_is_told_and_is_taken(command: str) -> None:
    told = {word.partition(" ")[0] for row in rows(command) for word in code(row[0])}

    assert told == options(parser(command))


def test_each_command_of_ours_has_its_heading() -> None:
    ours = {name for name, app in get_commands().items() if app in ("config", "emailqueue", "events")}

    told = set(re.findall(r"(?m)^## manage\.py (\S+)$", PAGE.path.read_text()))

    assert told == ours | {"rqworker", "rqworker-pool"}


def test_each_module_that_is_run_exists_and_runs() -> None:
    modules = [re.findall(r"-m (\S+)", row[0])[0] for row in table(PAGE, "command", "does") if "-m" in row[0]]

    assert modules == ["emailqueue.worker.heartbeat", "config.probe"]
    assert all('__name__ == "__main__"' in Path(str(import_module(name).__file__)).read_text() for name in modules)
    assert f"within {STALE_AFTER:g} s" in section(PAGE, "Modules that are run")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_each_command_line_of_deploy_is_taken(file: Path) -> None:
    assert [fault for line in command_lines(file) if (fault := refusal(line))] == []


def test_the_command_lines_of_deploy_are_found() -> None:
    found = {line[0] for file in FILES for line in command_lines(file)}

    assert found == {"migrate", "rqworker", "emailqueue", "collectstatic", "createsuperuser"}


@pytest.mark.parametrize("of", PAGES, ids=lambda of: of.path.name)
def test_each_command_line_within_a_sentence_is_taken(of: Page) -> None:
    spans = [
        span for span in of.spans if re.search(r"manage\.py \w+", span) and not re.search(r"\b[A-Z]{2,}\b|…", span)
    ]
    lines = [shlex.split(span.partition("manage.py ")[2]) for span in spans]

    # A sentence may name a command without its verb, and a verb without what it takes.
    faults = [fault for line in lines if (fault := refusal(line))]
    assert [fault for fault in faults if "are required" not in fault] == []


@pytest.mark.parametrize("line", ["emailqueue purge --before 3d", "rqworker --fast", "queue", "emailqueue limit 1 2"])
def test_a_command_line_that_is_wrong_is_found(line: str) -> None:
    assert refusal(line.split())


def command_lines(file: Path) -> list[list[str]]:
    """Return the words after manage.py of each command in a file, written as a line or as a list."""
    text = file.read_text()
    lists = [yaml.safe_load(f"[{words}]") for words in re.findall(r"\[([^\[\]]*\bmanage\.py\b[^\[\]]*)\]", text)]
    lines = re.findall(r"manage\.py ([a-z].*)", text)
    return [*(words[words.index("manage.py") + 1 :] for words in lists), *map(shlex.split, lines)]


def refusal(words: list[str]) -> str:
    """Return what the parser of a command says against its arguments; empty: nothing."""
    name, *rest = words
    if name not in get_commands():
        return f"There is no command {name}."
    try:
        parser(name).parse_args(rest)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the parser says
        return f"{name}: {error}"
    return ""
