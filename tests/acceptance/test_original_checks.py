"""The thirteen checks of the system that this one replaces."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from email.message import EmailMessage

import django_rq
import pytest
from django.core.management import call_command
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.email_types import Recipient
from emailqueue.events import get_event_stats, publish
from emailqueue.models import DeadLetter
from emailqueue.testing import MailServer
from events import (
    queue_progress_update,
    queue_rank_update,
    queue_referral_join,
    queue_referral_milestone,
    queue_reward_delivery,
    queue_vote_confirmation,
)
from tests.conftest import StartWorker, Work

MODEL = "https://front.example/models/7"
VOTE = {"model_name": "Tern & Co", "model_id": 7}
PROGRESS = {"model_name": "Tern", "vote_count": 500, "milestone": 500, "profile_url": MODEL}
RANK = {"model_name": "Tern", "rank_position": 3, "previous_rank": 5, "vote_count": 420, "profile_url": MODEL}


@pytest.fixture(autouse=True)
def empty_queues(valkey: Redis, transactional_db: None) -> None:
    """Each check begins with empty queues and tables."""


def test_redis_answers() -> None:
    said = io.StringIO()

    call_command("check", tags=["redis"], stdout=said, stderr=said)

    assert "Redis found by REDIS_URL at unix://" in said.getvalue()
    assert "emailqueue.E" not in said.getvalue()


def test_a_vote_confirmation_is_delivered(mailbox: MailServer, work: Work) -> None:
    job_id = queue_vote_confirmation("ada@example.com", VOTE)
    waiting = django_rq.get_queue("normal").job_ids

    work()

    assert waiting == [job_id]
    message = only_message(mailbox, to="ada@example.com")
    assert message["Subject"] == "Your vote for Tern & Co is in"
    assert "Your vote for Tern & Co is in." in text_of(message)
    assert "Tern &amp; Co" in html_of(message)
    assert MODEL in text_of(message)
    assert MODEL in html_of(message)


def test_a_progress_update_is_delivered(mailbox: MailServer, work: Work) -> None:
    job_id = queue_progress_update("ada@example.com", PROGRESS)
    waiting = django_rq.get_queue("low").job_ids

    work()

    assert waiting == [job_id]
    message = only_message(mailbox, to="ada@example.com")
    assert message["Subject"] == "Tern reached a milestone: 500"
    assert "Tern reached a milestone: 500." in text_of(message)
    assert MODEL in html_of(message)


def test_a_rank_update_goes_out_at_high_priority(
    mailbox: MailServer, work: Work, queue_settings: Callable[..., None]
) -> None:
    queue_settings(CONCURRENCY=1)
    queue_progress_update("first@example.com", PROGRESS)
    job_id = queue_rank_update("ada@example.com", RANK)
    waiting = django_rq.get_queue("critical").job_ids

    work()

    assert waiting == [job_id]
    message = mailbox.messages[0].message
    assert message["To"] == "ada@example.com"
    assert message["Subject"] == "Tern climbed to #3"
    assert "climbed from #5 to #3" in text_of(message)
    assert "#5 → #3" in html_of(message)


def test_a_reward_is_delivered(mailbox: MailServer, work: Work) -> None:
    job_id = queue_reward_delivery("ada@example.com", {"reward_name": "Golden Feather", "reward_value": "50 €"})
    waiting = django_rq.get_queue("high").job_ids

    work()

    assert waiting == [job_id]
    message = only_message(mailbox, to="ada@example.com")
    assert message["Subject"] == "Your reward is here: Golden Feather"
    assert "Value: 50 €" in text_of(message)
    assert "https://front.example/rewards" in html_of(message)


def test_a_referral_join_is_delivered(mailbox: MailServer, work: Work) -> None:
    job_id = queue_referral_join("ada@example.com", {"user_name": "Ada", "referrer_name": "Grace"})
    waiting = django_rq.get_queue("low").job_ids

    work()

    assert waiting == [job_id]
    message = only_message(mailbox, to="ada@example.com")
    assert message["Subject"].endswith(", Ada")
    assert "Grace invited you" in text_of(message)
    assert "Grace" in html_of(message)


def test_a_referral_milestone_is_delivered(mailbox: MailServer, work: Work) -> None:
    job_id = queue_referral_milestone("ada@example.com", {"user_name": "Ada", "referral_count": 10})
    waiting = django_rq.get_queue("critical").job_ids

    work()

    assert waiting == [job_id]
    message = only_message(mailbox, to="ada@example.com")
    assert message["Subject"] == "10 friends joined because of you"
    assert "Hello Ada," in text_of(message)
    assert "10" in html_of(message)


def test_a_bulk_call_mails_each_of_three_recipients(mailbox: MailServer, work: Work) -> None:
    recipients: list[Recipient] = ["ada@example.com", ("bo@example.com", {"vote_count": 501}), "cy@example.com"]
    job_ids = queue_bulk_emails("progress-update", recipients, PROGRESS)
    waiting = django_rq.get_queue("low").job_ids

    work()

    assert waiting == job_ids
    texts = {mail.recipient: text_of(mail.message) for mail in mailbox.messages}
    assert sorted(texts) == ["ada@example.com", "bo@example.com", "cy@example.com"]
    assert len(mailbox.messages) == 3
    assert "It stands at 500 votes" in texts["ada@example.com"]
    assert "It stands at 501 votes" in texts["bo@example.com"]


def test_a_mail_that_is_due_in_5_seconds_goes_out_then(mailbox: MailServer, start_worker: StartWorker) -> None:
    start_worker().ready()
    began = time.time()
    job_id = queue_vote_confirmation("ada@example.com", VOTE, delay=5)
    scheduled = django_rq.get_queue("normal").scheduled_job_registry.get_job_ids()

    (mail,) = mailbox.wait_for(1, timeout=15)

    assert scheduled == [job_id]
    assert 5 <= mail.received_at - began < 6


def test_publishing_vote_created_mails_the_voter(mailbox: MailServer, work: Work) -> None:
    event_id = publish("vote.created", {"voter_email": "ada@example.com", "model_name": "Tern", "model_id": 7})
    waiting = django_rq.get_queue("events").job_ids

    work()

    assert waiting == [event_id]
    message = only_message(mailbox, to="ada@example.com")
    assert message["Subject"] == "Your vote for Tern is in"
    assert MODEL in text_of(message)


def test_a_changed_rank_is_told_to_each_supporter_once(mailbox: MailServer, work: Work) -> None:
    supporters = ["ada@example.com", "bo@example.com", "ada@example.com", "cy@example.com"]
    payload = {"model_id": 7, "model_name": "Tern", "new_rank": 3, "old_rank": 5, "vote_count": 420}
    publish("model.rank_changed", {**payload, "supporter_emails": supporters})

    work()

    assert sorted(mail.recipient for mail in mailbox.messages) == [
        "ada@example.com",
        "bo@example.com",
        "cy@example.com",
    ]
    assert {mail.message["Subject"] for mail in mailbox.messages} == {"Tern climbed to #3"}


def test_the_queue_statistics_tell_what_became_of_the_mails(mailbox: MailServer, work: Work) -> None:
    mailbox.rules.append(("nobody@example.com", ["550 5.1.1 no such mailbox"]))
    queue_vote_confirmation("ada@example.com", VOTE)
    queue_rank_update("nobody@example.com", RANK)
    queue_progress_update("later@example.com", PROGRESS, delay=3600)
    before = get_queue_stats()

    work()

    after = get_queue_stats()
    assert (before.main.waiting, before.main.delayed, before.main.completed) == (2, 1, 0)
    assert (after.main.waiting, after.main.active, after.main.delayed) == (0, 0, 1)
    assert (after.main.completed, after.main.failed, after.main.ambiguous) == (1, 1, 0)
    assert (after.queues["critical"].failed, after.queues["normal"].completed, after.queues["low"].delayed) == (1, 1, 1)
    assert after.dlq.count == DeadLetter.objects.open().count() == 1


def test_the_event_statistics_tell_what_became_of_the_events(mailbox: MailServer, work: Work) -> None:
    publish("vote.created", {"voter_email": "ada@example.com", "model_name": "Tern", "model_id": 7})
    publish("user.registered", {"user_email": "bo@example.com", "user_name": "Bo"})
    before = get_event_stats()

    work()

    after = get_event_stats()
    votes = after.topics["vote.created"]
    assert (before.waiting, before.active, before.completed) == (2, 0, 0)
    # An event counts once itself, and once for its subscriber.
    assert (after.waiting, after.active, after.completed, after.failed) == (0, 0, 4, 0)
    assert votes.published == 1
    assert [(figures.run, figures.failed) for figures in votes.subscribers.values()] == [(1, 0)]
    assert after.topics["reward.earned"].published == 0


def only_message(mailbox: MailServer, *, to: str) -> EmailMessage:
    (mail,) = mailbox.messages
    assert mail.recipient == mail.message["To"] == to
    return mail.message


def text_of(message: EmailMessage) -> str:
    return part_of(message, "plain")


def html_of(message: EmailMessage) -> str:
    return part_of(message, "html")


def part_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())
