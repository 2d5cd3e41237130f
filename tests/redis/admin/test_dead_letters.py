from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries
from redis import Redis

from emailqueue.models import DeadLetter, Reason, Status
from tests.support.letters import LIST, NOON, XSS, act, create, page, staff

pytestmark = pytest.mark.postgresql


def statuses() -> set[str]:
    return set(DeadLetter.objects.values_list("status", flat=True))


def jobs(valkey: Redis) -> int:
    return len(valkey.keys("rq:job:*"))


@pytest.mark.django_db
def test_the_list_shows_each_letter_and_is_searched_by_beginnings() -> None:
    create(1)
    create(2, recipient="", email_type="", label="vote.created", priority=None)
    client = staff("view")

    whole = client.get(LIST).content.decode()
    by_recipient = client.get(LIST, {"q": "ADA1@"}).content.decode()
    by_job = client.get(LIST, {"q": "job-2"}).content.decode()
    by_status = client.get(LIST, {"status__exact": "discarded"}).content.decode()

    assert "ada1@example.com" in whole
    assert "Refused: 550 no such mailbox" in whole
    assert "refused for good" in whole
    assert ("ada1@example.com" in by_recipient, "vote.created" in by_recipient) == (True, False)
    assert ("ada1@example.com" in by_job, "vote.created" in by_job) == (False, True)
    assert "0 dead letters" in by_status


@pytest.mark.django_db
def test_the_list_costs_the_same_for_one_letter_and_for_many(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    client = staff("view")
    create(1)
    with django_assert_max_num_queries(20) as alone:
        client.get(LIST)
    for number in range(2, 30):
        create(number)

    with django_assert_max_num_queries(len(alone)):
        answer = client.get(LIST)

    assert answer.content.decode().count("ada") >= 29


@pytest.mark.django_db
def test_the_page_tells_what_happened() -> None:
    letter = create()
    client = staff("view", "view_body")

    text = client.get(page(letter)).content.decode()

    assert "Attempt 1 of 3 was refused for good, so no other followed. 550 no such mailbox" in text
    assert "<code>550 no such mailbox</code>" in text
    assert "<details><summary>Traceback</summary><pre>Traceback …</pre></details>" in text
    assert "&quot;model_name&quot;: &quot;GPT&quot;" in text
    assert 'name="_save"' not in text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"verdict": "bad address", "rule": "no-address"}, "This address does not exist or is closed."),
        ({"verdict": "bad address", "rule": "of-a-project-that-dropped-it"}, "550 no such mailbox"),
        ({"verdict": "bad address"}, "refused for good: the address is bad"),
    ],
)
def test_a_letter_says_what_is_wrong_and_what_to_do(fields: dict[str, Any], words: str) -> None:
    letter = create(**fields)
    client = staff("view")

    answer = client.get(page(letter))

    assert words in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("reason", [*Reason.values, "unheard of"])
def test_every_reason_has_a_page(reason: str) -> None:
    letter = create(reason=reason, arguments=None)
    client = staff("view")

    answer = client.get(page(letter))

    assert answer.status_code == 200
    assert "550 no such mailbox" in answer.content.decode()


@pytest.mark.django_db
def test_nothing_that_a_mail_or_server_says_becomes_markup() -> None:
    letter = create(
        label=XSS,
        recipient=XSS,
        email_type=XSS,
        arguments={"email_type": XSS, "to": XSS, "context": {XSS: XSS}},
        raw=XSS,
        message=XSS,
        smtp_reply=XSS,
        error_class=XSS,
        edits={"to": XSS},
        discard_reason=XSS,
    )
    client = staff("view", "retry", "discard")

    pages = [client.get(address) for address in (LIST, page(letter), page(letter, "discard"))]
    pages.append(client.post(LIST, {"action": "discard", "_selected_action": letter.pk, "index": "0"}))
    pages.append(client.post(page(letter, "discard"), {"reason": XSS}, follow=True))
    pages.append(client.get(page(letter, "history")))

    texts = [answer.content.decode() for answer in pages]
    assert [answer.status_code for answer in pages] == [200] * 6
    assert [XSS in text for text in texts] == [False] * 6
    assert ["&lt;script&gt;alert(1)" in text for text in texts] == [True] * 6


@pytest.mark.django_db(transaction=True)
def test_the_button_retries_the_letter_and_leaves_a_trace(valkey: Redis) -> None:
    letter = create()
    client = staff("view", "retry")

    text = client.post(page(letter, "retry"), follow=True).content.decode()

    assert "1 dead letter is being retried." in text
    assert statuses() == {Status.RETRYING}
    assert valkey.exists("rq:job:job-1") == 1
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message(), entry.user.get_username()) == (letter.pk, "Retried.", "mary")


@pytest.mark.django_db
def test_the_button_discards_with_a_reason_only() -> None:
    letter = create()
    client = staff("view", "discard")

    asked = client.get(page(letter, "discard")).content.decode()
    refused = client.post(page(letter, "discard"), {"reason": " "}).content.decode()
    untouched = statuses()
    done = client.post(page(letter, "discard"), {"reason": "mailbox gone"}, follow=True).content.decode()

    assert 'name="reason"' in asked
    assert "This field is required." in refused
    assert untouched == {Status.OPEN}
    assert "1 dead letter was discarded." in done
    assert DeadLetter.objects.get().discard_reason == "mailbox gone"
    assert LogEntry.objects.get().get_change_message() == "Discarded: mailbox gone"


@pytest.mark.django_db(transaction=True)
def test_the_action_retries_a_selection_and_tells_what_it_could_not(valkey: Redis) -> None:
    selected = [create(1), create(2), create(3, arguments=None), create(4)]
    client = staff("view", "retry")

    text = act(client, "retry", *selected[:3])

    assert "2 dead letters are being retried." in text
    assert "1 dead letter was not changed: Dead letter" in text
    assert jobs(valkey) == 2
    assert LogEntry.objects.count() == 2
    assert DeadLetter.objects.open().count() == 2


@pytest.mark.django_db
def test_the_action_discards_what_was_selected_when_the_reason_was_asked() -> None:
    selected = [create(1).pk, create(2).pk]
    client = staff("view", "discard")
    asked = client.post(LIST, {"action": "discard", "_selected_action": selected, "index": "0"})
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.content.decode()))
    create(3)

    text = client.post(LIST, {**hidden, "reason": "all bounced"}, follow=True).content.decode()

    assert "2 dead letters was" not in text
    assert "2 dead letters were discarded." in text
    assert DeadLetter.objects.open().get().recipient == "ada3@example.com"
    assert LogEntry.objects.count() == 2


@pytest.mark.django_db
def test_an_action_refuses_more_than_a_thousand_letters() -> None:
    letters = DeadLetter.objects.bulk_create([DeadLetter(id=f"{n:032x}", dead_lettered_at=NOON) for n in range(1001)])
    client = staff("view", "retry", "discard")
    ids = " ".join(letter.pk for letter in letters)

    texts = [act(client, action, letters[0], letters=ids, reason="no") for action in ("retry", "discard")]

    assert all("At most 1000 dead letters are changed at once." in text for text in texts)
    assert statuses() == {Status.OPEN}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("permissions", "seen", "retried", "discarded"),
    [
        ((), 403, 403, 403),
        (("retry", "discard"), 403, 403, 403),
        (("view",), 200, 403, 403),
        (("view", "retry"), 200, 302, 403),
        (("view", "discard"), 200, 403, 302),
    ],
)
def test_each_verb_wants_its_permission(
    valkey: Redis, permissions: tuple[str, ...], seen: int, retried: int, discarded: int
) -> None:
    first, second = create(1), create(2)
    client = staff(*permissions)

    shown = client.get(page(first))
    listed = client.get(LIST)
    texts = [shown.content.decode(), listed.content.decode()]
    offers = [verb in text for verb, text in zip(["/retry/", "/discard/"], [texts[0]] * 2, strict=True)]
    actions = [f'value="{verb}"' in texts[1] for verb in ("retry", "discard")]
    act(client, "retry", *[first] * (retried == 403))
    act(client, "discard", *[first] * (discarded == 403), reason="no")
    untouched = statuses()
    codes = [
        client.post(page(first, "retry")).status_code,
        client.post(page(second, "discard"), {"reason": "no"}).status_code,
    ]

    assert (shown.status_code, listed.status_code) == (seen, seen)
    assert offers == actions == [retried == 302, discarded == 302]
    assert untouched == {Status.OPEN}
    assert codes == [retried, discarded]
    assert jobs(valkey) == (retried == 302)


@pytest.mark.django_db
def test_a_closed_letter_offers_nothing() -> None:
    letter = create(status=Status.SENT)
    client = staff("view", "retry", "discard")

    text = client.get(page(letter)).content.decode()

    assert "/retry/" not in text
    assert "/discard/" not in text


@pytest.mark.django_db
def test_letters_are_not_added_changed_or_deleted_by_hand(admin_client: Client) -> None:
    letter = create()

    answers = [
        admin_client.get(reverse("admin:emailqueue_deadletter_add")),
        admin_client.post(page(letter), {"recipient": "eve@example.com"}),
        admin_client.post(page(letter, "delete"), {"post": "yes"}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert DeadLetter.objects.get().recipient == "ada1@example.com"


@pytest.mark.django_db
def test_a_retry_wants_a_post_with_a_token(admin_user: User) -> None:
    letter = create()
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    codes = [client.get(page(letter, "retry")).status_code, client.post(page(letter, "retry")).status_code]

    assert codes == [405, 403]
    assert statuses() == {Status.OPEN}


@pytest.mark.django_db
def test_a_letter_that_is_not_there_is_not_found(admin_client: Client) -> None:
    missing = DeadLetter(pk="none")

    codes = [
        admin_client.post(page(missing, "retry")).status_code,
        admin_client.get(page(missing, "discard")).status_code,
    ]

    assert codes == [404, 404]
