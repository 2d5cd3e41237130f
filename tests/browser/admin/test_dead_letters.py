from __future__ import annotations

from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, Route, expect
from pytest_django.live_server_helper import LiveServer
from redis import Redis

from emailqueue import queue_bulk_emails
from emailqueue.dead_letters import bulk as bulk_run
from emailqueue.flow import paused_queues
from emailqueue.jobs.functions import DELIVER
from emailqueue.models import DeadLetter, Status
from emailqueue.models.bulk_action import BulkAction
from emailqueue.testing.mailserver import MailServer
from tests.browser.conftest import Open
from tests.conftest import Work
from tests.support.letters import ALL, LIST, create, create_many, page

STATS = reverse("admin:emailqueue_stats")
VOTE = {"model_name": "GPT", "profile_url": "https://front.example/models/7"}


def test_a_failure_is_found_read_edited_retried_and_delivered(
    open_as: Open, valkey: Redis, mailbox: MailServer, work: Work
) -> None:
    create(1)
    letter = create(2, recipient="bob@gone.example")
    browser = open_as(LIST, *ALL)

    browser.get_by_role("textbox", name="Search").fill("bob@")
    browser.keyboard.press("Enter")
    expect(browser.locator("#result_list tbody tr")).to_have_count(1)
    browser.get_by_role("link", name="bob@gone.example").click()
    expect(browser.locator(".eq-lead")).to_contain_text("550 no such mailbox")
    browser.get_by_text("Traceback", exact=True).click()
    expect(browser.get_by_text("Traceback …")).to_be_visible()
    frame = browser.frame_locator("iframe.eq-mail")
    expect(frame.get_by_text("GPT").first).to_be_visible()
    browser.get_by_role("link", name="Retry with edits…").click()
    browser.get_by_label("Recipient").fill("bob")
    browser.get_by_role("button", name="Retry with these edits").click()
    expect(browser.locator(".errorlist")).to_contain_text("is not an e-mail address")
    browser.get_by_label("Recipient").fill("bob@new.example")
    browser.get_by_label("Priority").select_option("critical")
    browser.get_by_role("button", name="Retry with these edits").click()
    expect(browser.locator(".messagelist")).to_contain_text("The dead letter is being retried.")
    work()
    browser.reload()

    expect(browser.get_by_text("Nothing to do: its retry was sent.")).to_be_visible()
    assert [mail.recipient for mail in mailbox.messages] == ["bob@new.example"]
    letter.refresh_from_db()
    assert letter.status == Status.SENT


def test_all_that_match_are_retried_until_someone_stops_it(open_as: Open, valkey: Redis) -> None:
    arguments = {"email_type": "vote-confirmation", "to": "ada@example.com", "context": VOTE}
    create_many(140, arguments=arguments, email_type="vote-confirmation", function=DELIVER, queue="normal")
    create(1, email_type="rank-update")
    for letter in DeadLetter.objects.filter(email_type="vote-confirmation"):
        DeadLetter.objects.filter(pk=letter.pk).update(job_id=f"job-of-{letter.pk}")
    browser = open_as(f"{LIST}?email_type__exact=vote-confirmation", *ALL)

    browser.locator("#action-toggle").check()
    browser.get_by_role("button", name="Select all that match this filter").click()
    browser.get_by_label("Action:").select_option(label="Retry selected dead letters")
    browser.locator("#changelist-form button[name=index]").click()  # Go, or Run in later versions of Django
    expect(browser.locator("#content")).to_contain_text("140 dead letters match.")
    browser.get_by_role("button", name="Retry all that match").click()
    expect(browser.locator("#bulk")).to_contain_text("waits for a worker")
    bulk_run.work()
    expect(browser.locator("#bulk-done")).not_to_have_text("0")  # by itself
    done = int(browser.locator("#bulk-done").inner_text())
    browser.get_by_role("button", name="Stop").click()
    expect(browser.locator("#bulk")).to_contain_text("stopped")
    BulkAction.objects.update(next_step_at=timezone.now())
    bulk_run.work()

    assert 1 <= done <= 50  # a step is a second's letters, and ends after a second
    assert valkey.llen("rq:queue:normal") == done
    assert DeadLetter.objects.open().count() == 141 - done
    expect(browser.get_by_role("button", name="Stop")).to_have_count(0)


def test_a_letter_is_discarded_by_keyboard(open_as: Open) -> None:
    letter = create(1)
    browser = open_as(page(letter), *ALL)

    _tab_to(browser, "Discard…")
    browser.keyboard.press("Enter")
    expect(browser.get_by_label("Reason")).to_be_focused()
    browser.keyboard.type("the mailbox is gone")
    browser.keyboard.press("Enter")

    expect(browser.locator(".messagelist")).to_contain_text("1 dead letter was discarded.")
    letter.refresh_from_db()
    assert (letter.status, letter.discard_reason) == (Status.DISCARDED, "the mailbox is gone")


def test_the_statistics_move_while_mails_flow_even_under_a_strict_policy(
    open_as: Open, live_server: LiveServer, valkey: Redis, mailbox: MailServer, work: Work
) -> None:
    def strictly(route: Route) -> None:
        answer = route.fetch()
        policy = "default-src 'self'; script-src 'self'; style-src 'self'"
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": policy})

    browser = open_as(LIST, *ALL)
    browser.route(f"{live_server.url}{STATS}*", strictly)
    complaints: list[str] = []
    browser.on("console", lambda message: complaints.append(message.text))

    browser.get_by_role("link", name="Statistics").click()
    expect(browser.locator("#panel-queues")).to_be_visible()
    browser.evaluate("window.sameDocument = true")
    queue_bulk_emails("vote-confirmation", [f"ada{number}@example.com" for number in range(7)], VOTE)
    expect(browser.locator("#panel-queues tr", has_text="normal")).to_contain_text("7")
    work()

    expect(browser.locator(".eq-legend").first).to_contain_text("sent 7")
    assert browser.locator("rect.eq-sent").count() >= 4
    assert browser.evaluate("window.sameDocument") is True
    assert [text for text in complaints if "emailqueue" in text or "stats" in text] == []


def test_a_queue_is_paused_and_resumed_while_the_page_refreshes_itself(open_as: Open, valkey: Redis) -> None:
    browser = open_as(STATS, *ALL)

    browser.get_by_role("button", name="Pause low").click()
    expect(browser.get_by_text("Paused: low.")).to_be_visible()
    paused = paused_queues()
    shown_at = browser.locator("#stats-at").get_attribute("datetime")
    expect(browser.locator("#stats-at")).not_to_have_attribute("datetime", shown_at or "")
    browser.get_by_role("button", name="Resume low").click()

    expect(browser.get_by_role("button", name="Pause low")).to_be_visible()
    assert paused == ("low",)
    assert paused_queues() == ()


def test_without_a_permission_there_is_no_button_and_no_address(open_as: Open, live_server: LiveServer) -> None:
    letter = create(1)
    browser = open_as(page(letter), "view")

    expect(browser.locator(".eq-lead")).to_be_visible()
    names = [browser.get_by_role(role, name=name) for role in ("button", "link") for name in ("Retry", "Discard")]
    assert [name.count() for name in names] == [0] * 4
    assert browser.locator("iframe").count() == 0
    codes = [
        browser.goto(live_server.url + page(letter, verb)).status  # type: ignore[union-attr]
        for verb in ("edit", "discard", "preview", "retry")
    ]
    assert codes == [403] * 4
    assert letter.status == Status.OPEN


def _tab_to(browser: Page, words: str) -> None:
    for _ in range(60):
        browser.keyboard.press("Tab")
        if browser.evaluate("document.activeElement.textContent || document.activeElement.value").strip() == words:
            return
    raise AssertionError(f"no way by keyboard to {words!r}")
