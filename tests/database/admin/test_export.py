"""What an export holds, and who may have it."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from emailqueue.models import DeadLetter
from tests.support.letters import LIST, act, act_export, create, page, staff


@pytest.mark.django_db
def test_an_export_to_a_spreadsheet_holds_no_formula() -> None:
    evil = create(1, recipient="=HYPERLINK(1)", message="+1", smtp_reply="@sum")
    create(2)

    lines = b"".join(act_export(staff("view", "export"), "csv", evil)).decode().splitlines()

    assert len(lines) == 2
    assert ",'=HYPERLINK(1)," in lines[1]
    assert ",'+1," in lines[1]
    assert ",'@sum," in lines[1]
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.get_change_message()) == ("1 dead letter", "Exported as CSV.")


@pytest.mark.django_db
def test_an_export_of_all_that_match_comes_in_pieces() -> None:
    letter = create(1, arguments=None)
    DeadLetter.objects.bulk_create(
        [
            DeadLetter(id=f"{number:032x}", dead_lettered_at=timezone.now(), recipient="x@y.example")
            for number in range(10, 1210)
        ]
    )
    client = staff("view", "export", "view_body")
    query = {"action": "export_json", "_selected_action": letter.pk, "select_across": "1", "index": "0"}

    whole = client.post(LIST, query)
    matching = client.post(f"{LIST}?q=x@y", query)

    assert len(json.loads(b"".join(whole.streaming_content))) == 1201  # type: ignore[attr-defined]
    assert len(json.loads(b"".join(matching.streaming_content))) == 1200  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["edit", "preview"])
def test_no_permission_no_address(verb: str) -> None:
    letter = create()

    assert staff("view").get(page(letter, verb)).status_code == 403


@pytest.mark.django_db
def test_no_export_without_permission() -> None:
    letter = create()
    client = staff("view")

    text = act(client, "export_csv", letter)

    assert 'value="export_csv"' not in text
    assert LogEntry.objects.count() == 0
