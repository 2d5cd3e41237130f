from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from redis import Redis

from emailqueue.email_types import EmailType, _registry
from emailqueue.enqueue.call import DELIVER
from emailqueue.models import DeadLetter, Status
from events.emails import VOTE_CONFIRMATION
from tests.support.letters import LIST, NOON, XSS, act, create, page, staff

VOTE = {"model_name": "GPT", "profile_url": "https://front.example/models/7"}
REMOTE = '<img src="https://evil.example/pixel.png"><script src="https://evil.example/x.js"></script>'


@pytest.fixture
def stale_type(monkeypatch: pytest.MonkeyPatch) -> EmailType:
    """The vote confirmation, out of date after an hour, for one test."""
    changed = replace(VOTE_CONFIRMATION, stale_after=3600)
    monkeypatch.setitem(_registry, changed.name, changed)
    return changed


@pytest.mark.django_db
def test_the_page_says_what_to_do_and_leads_to_the_neighbours() -> None:
    earlier = create(1, recipient="Ada@example.com")
    letter = create(2, recipient="ada@example.com")
    later = create(3, recipient="ada@example.com", redrives=letter.pk)
    create(4)

    client = staff("view")

    text = client.get(page(letter)).content.decode()
    retried = client.get(page(later)).content.decode()

    assert f'<a href="{page(letter)}">{letter.pk}</a>' in retried
    assert "Correct what was refused, then retry with edits" in text
    assert f'<a href="{page(earlier)}">' in text
    assert f'<a href="{page(later)}">' in text
    assert "?q=ada%40example.com" in text


@pytest.mark.django_db
def test_the_list_tells_the_verdict_and_the_page_leads_to_the_event() -> None:
    letter = create(1, verdict="bad address", rule="no-address", cause="a" * 32)
    client = staff("view")

    listed = client.get(LIST).content.decode()
    text = client.get(page(letter)).content.decode()
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_eventtrail"))
    seen = client.get(page(letter)).content.decode()

    assert "This address does not exist or is closed" in listed
    assert "Correct what was refused" not in text
    trail = f'<a href="{reverse("admin:emailqueue_eventtrail_changelist")}?id={letter.pk}">Trail of its event</a>'
    assert (trail in text, trail in seen) == (False, True)


@pytest.mark.django_db
def test_the_mail_is_shown_as_it_would_go_out_now() -> None:
    letter = create()
    client = staff("view", "view_body")

    text = client.get(page(letter)).content.decode()
    frame = client.get(page(letter, "preview"))

    assert f'src="{page(letter, "preview")}"' in text
    assert "<iframe" in text
    assert " sandbox " in text
    assert "GPT" in frame.content.decode()
    assert "https://front.example/models/7" in text


@pytest.mark.django_db
def test_a_preview_runs_nothing_and_asks_nobody() -> None:
    arguments = {
        "email_type": "vote-confirmation",
        "to": "ada@example.com",
        "context": {"model_name": REMOTE, "profile_url": "https://front.example/models/7"},
    }
    letter = create(arguments=arguments)

    frame = staff("view", "view_body").get(page(letter, "preview"))

    policy = frame.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data:;")
    assert "form-action 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "allow-" not in policy
    assert "script-src" not in policy
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "no-store" in frame.headers["Cache-Control"]
    assert REMOTE not in frame.content.decode()


@pytest.mark.django_db
def test_a_mail_that_cannot_be_rendered_says_why() -> None:
    letter = create(email_type="unheard-of")
    client = staff("view", "view_body")

    text = client.get(page(letter)).content.decode()
    frame = client.get(page(letter, "preview"))

    assert "It cannot be rendered: KeyError" in text
    assert frame.status_code == 200


@pytest.mark.django_db
def test_the_content_wants_a_permission_of_its_own() -> None:
    letter = create(raw="raw-secret", edits={"context": {"model_name": "edit-secret"}})
    client = staff("view", "retry", "discard", "export")

    text = client.get(page(letter)).content.decode()
    form = client.get(page(letter, "edit")).content.decode()
    frame = client.get(page(letter, "preview"))
    exported = b"".join(act_export(client, "json", letter)).decode()

    assert ("GPT" in text, "raw-secret" in text, "edit-secret" in text, "<iframe" in text) == (False,) * 4
    assert ("GPT" in form, 'name="context"' in form) == (False, False)
    assert frame.status_code == 403
    assert "GPT" not in exported


@pytest.mark.django_db(transaction=True)
def test_a_retry_with_edits_sends_another_mail_and_keeps_the_change(valkey: Redis) -> None:
    letter = create()
    client = staff("view", "retry", "view_body")
    context = {"model_name": "GPT 2", "profile_url": "https://front.example/models/7"}

    form = client.get(page(letter, "edit")).content.decode()
    client.post(page(letter, "edit"), {"to": "ada@new.example", "context": json.dumps(context), "priority": "1"})

    letter.refresh_from_db()
    assert "&quot;model_name&quot;: &quot;GPT&quot;" in form
    assert letter.status == Status.RETRYING
    assert letter.edits == {"to": "ada@new.example", "context": context, "priority": 1}
    assert letter.retried_job_id != letter.job_id
    assert valkey.llen("rq:queue:critical") == 1
    assert LogEntry.objects.get().get_change_message() == (
        "Retried with edits: recipient ada1@example.com → ada@new.example; priority normal → critical; "
        "context: model_name."
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("to", "ada", "is not an e-mail address"),
        ("to", "ada@example.com\nBcc: eve@example.com", "holds a line break"),
        ("context", "{", "Enter a valid JSON"),
        ("context", '{"model_name": "GPT"}', "needs &#x27;profile_url&#x27;"),
        ("context", '{"model_name": 7, "profile_url": "https://front.example"}', "It must be text"),
        ("context", '["a"]', "Use a mapping"),
        ("priority", "9", "Select a valid choice"),
    ],
)
def test_edits_are_checked_as_at_the_queue(field: str, value: str, sentence: str) -> None:
    letter = create()
    good = {"to": "ada@example.com", "context": json.dumps(VOTE), "priority": "3"}

    answer = staff("view", "retry", "view_body").post(page(letter, "edit"), {**good, field: value})

    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert DeadLetter.objects.get().status == Status.OPEN
    assert LogEntry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_who_may_not_see_the_content_can_still_correct_the_address(valkey: Redis) -> None:
    letter = create()

    staff("view", "retry").post(page(letter, "edit"), {"to": "ada@new.example", "priority": "3"})

    letter.refresh_from_db()
    assert letter.edits == {"to": "ada@new.example"}


@pytest.mark.django_db
def test_a_letter_that_is_no_mail_or_closed_is_not_edited() -> None:
    letters = [create(1, status=Status.SENT), create(2, email_type=""), create(3, arguments=None)]
    client = staff("view", "retry", "view_body")

    answers = [client.get(page(letter, "edit"), follow=True) for letter in letters]
    pages = [client.get(page(letter)).content.decode() for letter in letters]

    assert [
        "Only an open dead letter of an e-mail can be edited." in answer.content.decode() for answer in answers
    ] == [True] * 3
    assert ["Retry with edits" in text for text in pages] == [False] * 3


@pytest.mark.django_db(transaction=True)
def test_an_old_mail_is_retried_only_after_asking_and_shows_what_differs(valkey: Redis, stale_type: EmailType) -> None:
    letter = create(rendered={"subject": "Your vote", "text": "Hello\nold link"})
    client = staff("view", "retry", "view_body")

    asked = client.post(page(letter, "retry"))
    untouched = DeadLetter.objects.get().status
    done = client.post(page(letter, "retry"), {"stale": "too"}, follow=True)

    text = asked.content.decode()
    assert "1 mail is older than its type allows" in text
    assert "-old link" in text
    assert "\n+https://front.example/models/7" in text
    assert untouched == Status.OPEN
    assert "1 dead letter is being retried." in done.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_selection_asks_about_the_old_mails_in_it(valkey: Redis, stale_type: EmailType) -> None:
    old, new = create(1), create(2, created_at=timezone.now(), died_at=timezone.now())
    client = staff("view", "retry")

    asked = act(client, "retry", old, new)
    untouched = DeadLetter.objects.open().count()
    done = act(client, "retry", old, new, stale="not")

    assert "Retry only the others" in asked
    assert untouched == 2
    assert "1 dead letter is being retried." in done
    assert DeadLetter.objects.open().get() == old


@pytest.mark.django_db
def test_editing_an_old_mail_wants_a_word_too(stale_type: EmailType) -> None:
    letter = create()
    client = staff("view", "retry", "view_body")
    fields = {"to": "a@b.example", "context": json.dumps(VOTE), "priority": "3"}

    answer = client.post(page(letter, "edit"), fields)

    assert "This field is required." in answer.content.decode()
    assert "There is no record of the original text." in answer.content.decode()
    assert DeadLetter.objects.get().status == Status.OPEN


def act_export(client: Client, form: str, *letters: DeadLetter, **fields: str) -> list[bytes]:
    content = {"action": f"export_{form}", "_selected_action": [letter.pk for letter in letters], "index": "0"}
    answer = client.post(LIST, {**content, **fields})
    assert answer.status_code == 200, answer
    assert answer.streaming
    return list(answer.streaming_content)  # type: ignore[attr-defined]


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
        [DeadLetter(id=f"{number:032x}", died_at=timezone.now(), recipient="x@y.example") for number in range(10, 1210)]
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


@pytest.mark.django_db
def test_payloads_become_no_markup_on_any_page(stale_type: EmailType) -> None:
    letter = create(
        recipient=XSS,
        message=XSS,
        smtp_reply=XSS,
        arguments={"email_type": "vote-confirmation", "to": XSS, "context": {"model_name": XSS, "profile_url": "x"}},
        rendered={"subject": XSS, "text": XSS},
        function=DELIVER,
    )
    client = staff("view", "retry", "discard", "view_body")
    query = {"action": "retry", "_selected_action": letter.pk, "select_across": "1", "index": "0"}

    pages = [
        client.get(page(letter)),
        client.get(page(letter, "edit")),
        client.post(page(letter, "retry")),
        client.post(f"{LIST}?q={XSS}", query),
        client.get(LIST, {"q": XSS}),
        client.get(LIST, {"smtp_code__exact": XSS, "recipient_domain__exact": XSS, "status__exact": XSS}),
    ]

    assert [answer.status_code for answer in pages] == [200] * 6
    assert [XSS in answer.content.decode() for answer in pages] == [False] * 6


@pytest.mark.django_db
def test_what_became_of_a_letter_is_told_once_something_has() -> None:
    client = staff("view", "view_body")
    letter = create(1)
    closed = create(2, status=Status.DISCARDED, discard_reason="gone", closed_at=NOON)

    fresh, ended = (client.get(page(each)).content.decode() for each in (letter, closed))

    assert ("field-closed_at" in fresh, "field-closed_at" in ended) == (False, True)
    assert ("field-status" in fresh, "field-status" in ended) == (True, True)


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["edit", "discard"])
def test_a_page_that_asks_about_a_letter_leads_back_to_it(verb: str) -> None:
    letter = create(1)

    asked = staff("view", "view_body", "retry", "discard").get(page(letter, verb)).content.decode()

    trail = asked.partition('<ol class="breadcrumbs">')[2].partition("</ol>")[0]
    assert re.findall(r'href="([^"]+)"', trail) == ["/admin/", "/admin/emailqueue/", LIST, page(letter)]
    assert f'<a href="{page(letter)}" class="closelink">' in asked
