"""Each page of the docs, held against what there is: tests, links, examples in Python, commands."""

from __future__ import annotations

import re
from argparse import ArgumentParser, _SubParsersAction
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import get_commands, load_command_class

from tests.support.examples import faults
from tests.support.pages import Page

ROOT = Path(__file__).parents[2]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
PAGES = [Page(path) for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.name)


@each_page
def test_each_test_that_a_page_names_exists(page: Page) -> None:
    named = [span for span in page.spans if re.fullmatch(r"test_\w+", span)]

    missing = [name for name in named if f"def {name}(" not in TESTS]

    assert missing == []


@each_page
def test_each_link_of_a_page_leads_somewhere(page: Page) -> None:
    assert [link for link in page.links if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize(
    "link",
    [
        *("nowhere.md", "events.md#nowhere", "#nowhere", "../README", "/docs/events.md"),
        *("http:/example.com", "https://", "https://exam ple.com", "ftp://example.com", "mailto:ada"),
    ],
)
def test_a_broken_link_is_found(link: str) -> None:
    assert not leads_somewhere(Page(ROOT / "docs" / "index.md"), link)


def test_the_index_leads_to_every_page() -> None:
    links = Page(ROOT / "docs" / "index.md").links

    assert [page.path.name for page in PAGES if page.path.name not in [*links, "README.md", "index.md"]] == []


def test_the_readme_fits_on_a_screen_and_promises_what_its_pages_have_measured() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (.+) \| (.+) \| `python -m (\S+)` \(\[\w+\]\((\S+)\)\) \|$", readme, flags=re.MULTILINE)

    assert len(readme.splitlines()) <= 80
    assert len(rows) == 3
    for _what, figures, module, page in rows:
        measured = (ROOT / page).read_text()
        assert module in measured
        assert [figure for figure in re.findall(r"[\d.]+", figures) if not re.search(rf"\b{figure}\b", measured)] == []


@each_page
def test_each_example_in_python_compiles_and_uses_what_there_is(page: Page) -> None:
    assert faults(page.python) == []


@pytest.mark.parametrize(
    "source",
    [
        "from emailqueue import queue_mail",
        "from emailqueue.nowhere import queue_email",
        "import events.publish",
        "from emailqueue import queue_email\nqueue_email('offer', to='ada@example.com')",
        "from emailqueue import queue_email\nqueue_email('offer', 'ada@example.com', {}, prio='low')",
        "from emailqueue import EmailType\nEmailType(name='offer', layout='offer.html')",
        "from events import subscribe, topics\nsubscribe(topics.VOTE_DELETED)(print)\ntopics.VOTE_DELETED()",
        "EMAIL_QUEUE = {'LIMIT': '10/s'}",
        "urlpatterns = [path('email/', include('emailqueue.urls'))]",
        "publish('vote.created', {",
    ],
)
def test_a_wrong_example_is_found(source: str) -> None:
    assert faults(source)


@each_page
def test_each_command_of_a_page_is_one(page: Page) -> None:
    found = [line for block in page.blocks for line in block.commands]

    assert [(line, fault) for line in found if (fault := command_fault(line))] == []


@each_page
def test_no_page_installs_what_another_has_put_on_pypi_under_our_name(page: Page) -> None:
    installed = [line for block in page.blocks for line in block.commands if line[1:2] == ["install"]]

    assert [word for line in installed for word in line if word.startswith("django-emailqueue")] == []


@each_page
def test_each_command_that_a_sentence_names_exists(page: Page) -> None:
    named = [words.groups("") for span in page.spans if (words := re.search(r"manage\.py (\w+)(?: ([a-z]+)\b)?", span))]

    assert [command for command, _verb in named if command not in get_commands()] == []
    assert [(command, verb) for command, verb in named if verbs(command) and verb and verb not in verbs(command)] == []


@pytest.mark.parametrize(
    "line",
    [
        *("manage.py queue_it", "manage.py emailqueue", "manage.py emailqueue prune", "manage.py migrate --now"),
        *("manage.py emailqueue purge --older-than", "-m benchmarks.nowhere"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    assert command_fault(["python", *line.split()])


def leads_somewhere(page: Page, link: str) -> bool:
    """Return whether a link in a page leads to a file and a heading that exist, or is a sound address of the web."""
    address = urlsplit(link)
    if address.scheme or link.startswith("/"):
        return address.scheme in ("http", "https") and bool(re.fullmatch(r"[\w.-]+(:\d+)?", address.netloc))
    target = page.path.parent / address.path if address.path else page.path
    return target.is_file() and (not address.fragment or address.fragment in Page(target).anchors)


def command_fault(words: list[str]) -> str:
    """Return what is wrong with a command line that starts manage.py or a module of ours; empty: nothing."""
    if "-m" in words and words[0].endswith("python") and not _is_module(words[words.index("-m") + 1]):
        return "no such module"
    start = next((index for index, word in enumerate(words) if word.endswith("manage.py")), None)
    if start is None:
        return ""
    name, *arguments = words[start + 1 :]
    if name not in get_commands():
        return "no such command"
    try:
        parser(name).parse_args(arguments)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the parser says
        return str(error) or "wrong arguments"
    return ""


def parser(command: str) -> ArgumentParser:
    return load_command_class(get_commands()[command], command).create_parser("manage.py", command)


def verbs(command: str) -> set[str]:
    actions = parser(command)._actions
    return {verb for action in actions if isinstance(action, _SubParsersAction) for verb in action.choices}


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
