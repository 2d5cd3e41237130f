"""Which names `manage.py emailqueue starter` refuses, and what it writes from a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.support.tables import ROOT


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2fast", "'2fast' cannot name an application: it is no name of a Python module."),
        ("my-mails", "'my-mails' cannot name an application"),
        ("größe", "'größe' cannot name an application"),
        ("class", "'class' cannot name an application"),
        ("taken", "'taken' exists in this folder already."),
        ("emailqueue", "'emailqueue' is the label of an installed application."),
        ("json", "'json' is a module that Python finds already."),
        ("tabnanny", "'tabnanny' is a module that Python finds already."),
    ],
)
def test_a_name_that_would_not_do_is_refused_with_what_to_write_instead(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")

    with pytest.raises(CommandError) as refused:
        call_command("emailqueue", "starter", name)

    assert str(refused.value).startswith(reason)
    assert str(refused.value).endswith("Choose another name: manage.py emailqueue starter NAME.")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_folder_that_takes_no_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")

    with pytest.raises(CommandError, match=r"The application cannot be written: .*'voting'"):
        call_command("emailqueue", "starter", "voting")


def test_a_checkout_gives_the_application_of_the_example_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    call_command("emailqueue", "starter", "site_events")

    written = {path.relative_to(tmp_path / "site_events") for path in tmp_path.rglob("*") if path.is_file()}
    said = capsys.readouterr().out
    modules = {path.relative_to(ROOT / "events") for path in (ROOT / "events").glob("*.py")}
    templates = {Path("templates/site_events", path.name) for path in (ROOT / "templates/events").iterdir()}
    assert modules | templates | {Path("locale/de/LC_MESSAGES/django.po")} <= written
    assert all(f"site_events/{path}\n" in said for path in written)
    assert '    INSTALLED_APPS += ["site_events"]\n' in said
    receivers = (tmp_path / "site_events" / "receivers.py").read_text()
    assert "from emailqueue.events import Event" in receivers
    assert "from site_events.emails import" in receivers
    assert "class SiteEventsConfig(AppConfig)" in (tmp_path / "site_events" / "apps.py").read_text()
    assert '"site_events/vote-confirmation.html"' in (tmp_path / "site_events" / "emails.py").read_text()
