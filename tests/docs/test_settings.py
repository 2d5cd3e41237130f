"""docs/settings.md, held against the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
from django.conf import global_settings
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings as DjangoSettings

from emailqueue.conf import Settings, get_settings
from events import topics
from tests.support.pages import Page
from tests.support.tables import ROOT, code, page, table

PAGE = page("settings")
ROWS = {code(key)[0]: code(default)[0] for key, default, _meaning in table(PAGE, "key", "default", "meaning")}
REFUSED = {
    code(key)[0]: (ast.literal_eval(code(value)[0]), sentence)
    for key, value, sentence in table(PAGE, "key", "for example", "the sentence ends")
}
OURS = {field.name.upper() for field in fields(Settings)}
PAGES = [Page(path) for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]]
ENVIRONMENT = set(re.findall(r"`([A-Z_0-9]+)`", page("environment").path.read_text()))
DJANGOS = {name for name in dir(global_settings) if name.isupper()}
CONSTANTS = {"EMAIL_QUEUE", *(name for name in vars(topics) if name.isupper())}
THEIRS = {
    *("RQ_QUEUES", "RQ_EXCEPTION_HANDLERS", "USE_REDIS_CACHE", "COMMIT_MODE"),  # of django-rq
    *("BATCH_SIZE", "MAX_RETRIES", "RETRY_INTERVAL", "THREADS_PER_PROCESS"),  # of django-post_office
}

Configure = Callable[[str, Any], None]


@pytest.fixture
def configure(settings: DjangoSettings) -> Configure:
    def write(key: str, value: Any) -> None:
        settings.EMAIL_QUEUE = {key: value}

    return write


def test_each_key_of_the_code_has_one_row_and_each_row_is_a_key() -> None:
    rows = [code(row[0]) for row in table(PAGE, "key", "default", "meaning")]

    assert sorted(key for [key] in rows) == sorted(OURS)


@pytest.mark.parametrize("key", ROWS)
def test_the_default_of_a_row_is_that_of_the_code(configure: Configure, key: str) -> None:
    configure(key, ast.literal_eval(ROWS[key]))

    written = getattr(get_settings(), key.lower())

    assert written == getattr(Settings(), key.lower())


def test_each_key_says_what_it_refuses() -> None:
    assert sorted(REFUSED) == sorted(OURS)


@pytest.mark.parametrize("key", REFUSED)
def test_a_wrong_value_is_refused_with_the_sentence_of_the_page(configure: Configure, key: str) -> None:
    value, sentence = REFUSED[key]
    configure(key, value)

    with pytest.raises(ImproperlyConfigured) as refused:
        get_settings()

    assert str(refused.value).endswith(sentence)
    assert key in str(refused.value)


def test_each_setting_of_django_that_the_code_reads_has_a_row_and_each_row_is_read() -> None:
    rows = {name for [names, _for] in table(PAGE, "setting", "for") for name in code(names)}

    read = set(settings_read()) - {"EMAIL_QUEUE"}

    # django-rq reads these two; ours is the module that names them.
    assert rows - {"RQ_QUEUES", "RQ"} == read


def settings_read() -> Iterator[str]:
    """Yield the names that our packages read from Django's settings."""
    for file in [*(ROOT / "emailqueue").rglob("*.py"), *(ROOT / "events").rglob("*.py")]:
        if "testing" in file.parts:
            continue
        source = file.read_text()
        if "from django.conf import settings" not in source:
            continue
        name = "django_settings" if "settings as django_settings" in source else "settings"
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner == name and re.match("[A-Z]", attr):
                    yield attr
                case ast.Call(args=[ast.Name(id=owner), ast.Constant(value=str(attr)), *_]) if owner == name:
                    yield attr


@pytest.mark.parametrize("of", PAGES, ids=lambda of: of.path.name)
def test_each_key_that_any_page_names_exists(of: Page) -> None:
    named = re.findall(r"""EMAIL_QUEUE\[["'](\w+)["']\]""", of.path.read_text())

    assert set(named) <= OURS


@pytest.mark.parametrize("of", PAGES, ids=lambda of: of.path.name)
def test_each_name_in_capitals_that_any_page_has_in_code_is_a_setting_or_a_variable(of: Page) -> None:
    named = {word for span in of.spans for word in re.findall(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+", span)}

    assert named - OURS - ENVIRONMENT - DJANGOS - CONSTANTS - THEIRS == set()
