from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation
from pytest_django import Settings

from emailqueue import EmailType, email_types, register
from tests.support.letters import LIST, XSS, staff

TYPES, HTML = reverse("admin:emailqueue_types"), reverse("admin:emailqueue_type_html")
NAME = f"a/b?&{XSS}"

pytestmark = pytest.mark.django_db


@pytest.fixture
def odd() -> Iterator[EmailType]:
    """A type with a name and a sample that want care."""
    yield register(
        EmailType(
            name=NAME,
            template="events/referral-join.html",
            needed={"user_name": str},
            reply_to=["help@example.com"],
            attachments=lambda _context: [("plan.pdf", b"12345", "application/pdf")],
            sample={"user_name": XSS},
        )
    )
    email_types._registry.pop(NAME)


@pytest.fixture
def bare() -> Iterator[EmailType]:
    """A type without a sample."""
    yield register(EmailType(name="bare", template="bare.html"))
    email_types._registry.pop("bare")


def test_the_list_of_letters_leads_to_all_types() -> None:
    client = staff("view")

    letters, types = client.get(LIST).content.decode(), client.get(TYPES).content.decode()

    assert f'href="{TYPES}"' in letters
    assert [name for name in email_types.email_types() if name not in types] == []


def test_a_type_is_shown_with_its_sample_in_a_sandboxed_frame(odd: EmailType) -> None:
    client = staff("view")

    page = client.get(TYPES, {"type": NAME}).content.decode()
    frame = client.get(HTML, {"type": NAME})

    assert "help@example.com" in page
    assert "plan.pdf (application/pdf, 5" in page
    assert '<iframe class="eq-mail" sandbox' in page
    assert XSS not in page
    assert frame.headers["Content-Security-Policy"].startswith("sandbox;")
    assert "&lt;script&gt;" in frame.content.decode()
    assert XSS not in frame.content.decode()


def test_the_frame_of_the_page_shows_what_the_page_names(odd: EmailType) -> None:
    client = staff("view")
    page = client.get(TYPES, {"type": NAME, "language": "de"}).content.decode()
    address = page.partition('src="' + HTML)[2].partition('"')[0].replace("&amp;", "&")

    shown = client.get(HTML + address).content.decode()

    assert "language=de" in address
    assert 'lang="de"' in shown


def test_a_preview_is_in_the_language_of_the_mail_not_of_the_reader(settings: Settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    client = staff("view")

    with translation.override("en"):  # the middleware leaves its language to the tests that follow
        shown = client.get(HTML, {"type": "referral-join"}, headers={"accept-language": "de"}).content.decode()

    assert 'lang="en"' in shown


def test_a_type_without_a_sample_says_what_to_do(bare: EmailType) -> None:
    page = staff("view").get(TYPES, {"type": "bare"}).content.decode()

    assert "Give EmailType(sample=...) a context." in page


@pytest.mark.parametrize("asked", [{"type": "unknown"}, {"type": "referral-join", "language": "tlh"}])
def test_what_is_not_there_is_not_found(asked: dict[str, str]) -> None:
    client = staff("view")

    assert (client.get(TYPES, asked).status_code, client.get(HTML, asked).status_code) == (404, 404)


def test_only_who_may_see_letters_sees_types() -> None:
    client = staff()

    assert (client.get(TYPES).status_code, client.get(HTML, {"type": "referral-join"}).status_code) == (403, 403)
    assert Client().get(TYPES).status_code == 302


def test_the_command_writes_all_types_that_have_a_sample(tmp_path: Path, odd: EmailType, bare: EmailType) -> None:
    told = emailqueue("preview", "--output", str(tmp_path))

    written = sorted(path.name for path in tmp_path.iterdir())
    assert len(written) == 2 * 7
    assert sorted(Path(line).name for line in told.splitlines()) == written
    text = (tmp_path / "referral-milestone.txt").read_text()
    assert "To: ada@example.com" in text
    assert "Subject: " in text
    assert all(path.parent == tmp_path for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["unknown"], "is not an e-mail type"),
        (["bare"], "has no sample"),
        (["referral-join", "--language", "tlh"], "Use one of those in LANGUAGES"),
    ],
)
def test_the_command_says_what_is_wrong_and_writes_nothing(
    tmp_path: Path, bare: EmailType, words: list[str], told: str
) -> None:
    with pytest.raises(CommandError, match=told):
        emailqueue("preview", *words, "--output", str(tmp_path / "out"))

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"'bare' cannot be shown: the template 'bare\.html' does not exist\.$"),
        ("{% extends 'no-parent.html' %}", r"'bare' cannot be shown: the template 'no-parent\.html' does not exist\.$"),
        ("{% block subject %}", r"'bare' cannot be shown: TemplateSyntaxError: .*Unclosed tag on line 1: 'block'.*\.$"),
    ],
)
def test_the_command_says_in_a_sentence_which_template_does_not_render(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, words: str
) -> None:
    kind = EmailType(name="bare", template="bare.html", needed={}, sample={})
    monkeypatch.setitem(email_types._registry, "bare", kind)
    if content:
        (tmp_path / "bare.html").write_text(content)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]

    with pytest.raises(CommandError, match=words):
        emailqueue("preview", "bare", "--output", str(tmp_path / "out"))

    assert not (tmp_path / "out").exists()


def emailqueue(*words: str) -> str:
    out = StringIO()
    call_command("emailqueue", *words, stdout=out)
    return out.getvalue().strip()
