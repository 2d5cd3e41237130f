from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import path
from pytest_django import Settings

from config.mailbox import SHOWN, mailbox
from config.urls import urlpatterns as common
from tests.support.letters import XSS

urlpatterns = [path("admin/mailbox/", admin.site.admin_view(mailbox), name="mailbox"), *common]
PAGE = "/admin/mailbox/"
HTML = (
    f"Subject: Hello {XSS}\r\nTo: ada@example.com\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hi</p>{XSS}\r\n"
)


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.MAILBOX = str(tmp_path / "mailbox")
    settings.ROOT_URLCONF = __name__
    (tmp_path / "mailbox").mkdir()
    (tmp_path / "secret.eml").write_text("Subject: secret\n\n")
    return tmp_path / "mailbox"


@pytest.mark.django_db
def test_the_mailbox_shows_what_arrived(folder: Path, admin_client: Client) -> None:
    (folder / "00001 ada@example.com.eml").write_bytes(HTML.encode())

    listed = admin_client.get(PAGE).content.decode()
    shown = admin_client.get(PAGE, {"mail": "00001 ada@example.com.eml"}).content.decode()
    frame = admin_client.get(PAGE, {"mail": "00001 ada@example.com.eml", "html": "1"})

    assert "Hello &lt;script&gt;" in listed
    assert (XSS in listed, XSS in shown) == (False, False)
    assert "sandbox" in shown
    assert "<p>Hi</p><x-script>" in frame.content.decode()
    assert frame.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.django_db
def test_it_lists_a_bounded_number_newest_first(folder: Path, admin_client: Client) -> None:
    for number in range(SHOWN + 5):
        (folder / f"{number:05d} ada@example.com.eml").write_text(f"Subject: mail {number:05d}\n\nHi\n")

    text = admin_client.get(PAGE).content.decode()

    assert text.count("?mail=") == SHOWN
    assert text.index("mail 00104") < text.index("mail 00103")
    assert "mail 00004" not in text


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["../secret.eml", "/etc/passwd", "none.eml", ""])
def test_it_leads_to_no_other_file(folder: Path, admin_client: Client, name: str) -> None:
    assert admin_client.get(PAGE, {"mail": name}).status_code == 404


@pytest.mark.django_db
def test_it_is_for_staff(folder: Path) -> None:
    assert Client().get(PAGE).status_code == 302


@pytest.mark.django_db
def test_without_a_folder_there_is_no_such_page(admin_client: Client) -> None:
    assert admin_client.get(PAGE).status_code == 404
