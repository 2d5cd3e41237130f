"""How staff correct a dead letter, and retry an old one."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone
from redis import Redis

from emailqueue.email_types import EmailType
from emailqueue.models import DeadLetter, Status
from tests.support.letters import act, create, page, staff

pytestmark = pytest.mark.postgresql

VOTE = {"model_name": "GPT", "profile_url": "https://front.example/models/7"}


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
    old, new = create(1), create(2, created_at=timezone.now(), dead_lettered_at=timezone.now())
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
