"""The page of a dead letter."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from emailqueue.email_types import EmailType
from emailqueue.jobs.functions import DELIVER
from emailqueue.models import Status
from tests.support.letters import LIST, NOON, XSS, act_export, create, page, staff

REMOTE = '<img src="https://evil.example/pixel.png"><script src="https://evil.example/x.js"></script>'


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


@pytest.mark.django_db
def test_a_dead_letter_without_a_recipient_has_no_neighbours() -> None:
    create(1, recipient="")

    text = staff("view").get(page(create(2, recipient=""))).content.decode()

    assert "Other dead letters of this recipient" not in text


@pytest.mark.django_db
def test_a_message_that_is_html_is_shown_as_html() -> None:
    message = {
        "subject": "Hello",
        "from": "shop@example.com",
        "to": ["ada@example.com"],
        "body": "<p>Good <b>day</b></p>",
        "subtypes": {"content_subtype": "html"},
    }
    letter = create(email_type="message", arguments={"to": "ada@example.com", "message": message})

    frame = staff("view", "view_body").get(page(letter, "preview")).content.decode()

    assert frame == "<p>Good <b>day</b></p>"


@pytest.mark.django_db
def test_what_the_server_said_ends_in_one_full_stop() -> None:
    letter = create(smtp_reply="No such mailbox.")

    text = staff("view").get(page(letter)).content.decode()

    assert "550 No such mailbox.</p>" in text
