from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone
from redis import Redis

from emailqueue import Backoff, cancel_email, get_queue_stats, reschedule_email, schedule_email
from emailqueue.models import DeadLetter
from emailqueue.testing import MailServer
from events import queue_progress_update, queue_vote_confirmation
from tests.conftest import StartWorker, Work, claim_and_vanish, eventually

VOTE = {"model_name": "Tern", "profile_url": "https://front.example/models/7"}
PROGRESS = {"model_name": "Tern", "vote_count": 500, "milestone": 500}
AT_ONCE = Backoff(type="fixed", delay=0.05)

pytestmark = [pytest.mark.usefixtures("valkey", "transactional_db"), pytest.mark.postgresql]


def test_two_refusals_for_now_are_followed_by_a_third_try_after_2_and_4_seconds(
    mailbox: MailServer, start_worker: StartWorker
) -> None:
    mailbox.replies = ["451 4.3.0 try again", "450 4.2.1 mailbox busy", "250 ok"]
    start_worker().ready()

    queue_vote_confirmation("ada@example.com", VOTE)

    mailbox.wait_for(1, timeout=15)
    assert waits_between(mailbox.attempts) == pytest.approx([2, 4], abs=0.3)
    eventually(lambda: get_queue_stats().main.completed == 1)
    assert get_queue_stats().main.retried == 2


def test_a_refusal_for_good_is_a_dead_letter_after_one_try(mailbox: MailServer, work: Work) -> None:
    mailbox.replies = ["550 5.1.1 no such mailbox"]
    queue_vote_confirmation("ada@example.com", VOTE)

    work(seconds=1)

    letter = DeadLetter.objects.get()
    assert (letter.recipient, letter.reason, letter.attempts_charged) == ("ada@example.com", "permanent", 1)
    assert [(attempt.smtp_code, attempt.phase) for attempt in letter.attempts.all()] == [(550, "rcpt")]
    assert len(mailbox.attempts) == 1
    assert mailbox.messages == []


def test_a_mail_that_is_refused_for_now_for_ever_is_a_dead_letter_after_three_tries(
    mailbox: MailServer, work: Work
) -> None:
    mailbox.rules.append(("ada@example.com", ["450 4.2.1 mailbox busy"]))
    queue_vote_confirmation("ada@example.com", VOTE, backoff=AT_ONCE)

    work(seconds=10)

    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.attempts_charged, letter.smtp_code) == ("exhausted", 3, 450)
    assert [attempt.smtp_code for attempt in letter.attempts.all()] == [450, 450, 450]
    assert len(mailbox.attempts) == 3


def test_five_attempts_at_a_fixed_wait_are_five_tries(mailbox: MailServer, start_worker: StartWorker) -> None:
    mailbox.rules.append(("ada@example.com", ["450 4.2.1 mailbox busy"]))
    start_worker().ready()

    queue_vote_confirmation("ada@example.com", VOTE, attempts=5, backoff={"type": "fixed", "delay": 0.2})

    eventually(DeadLetter.objects.exists, timeout=15)
    assert DeadLetter.objects.get().attempts_charged == 5
    assert waits_between(mailbox.attempts) == pytest.approx([0.2] * 4, abs=0.3)
    assert min(waits_between(mailbox.attempts)) >= 0.2


def test_mails_wait_uncharged_while_the_mail_server_is_away(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    mailbox.stop()
    start_worker().ready()
    job_id = queue_vote_confirmation("ada@example.com", VOTE, attempts=1)
    eventually(lambda: counter(valkey, "normal:waited") >= 2)

    mailbox.start()

    mailbox.wait_for(1)
    eventually(lambda: get_queue_stats().main.completed == 1)
    (outage,) = json.loads(valkey.hget(f"rq:job:{job_id}", "history") or "[]")
    assert (outage["kind"], outage["charged"], outage["phase"]) == ("wait", False, "connect")
    assert get_queue_stats().main.retried == 0
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize(
    ("phase", "reply"),
    [
        pytest.param("auth", "535 5.7.8 bad credentials", id="535 at AUTH"),
        pytest.param("connect", "421 4.3.2 going down", id="421 at the banner"),
        pytest.param("mail", "421 4.3.2 going down", id="421 at MAIL"),
        pytest.param("connect", "drop", id="connection closed before the banner"),
    ],
)
def test_what_concerns_the_whole_mail_server_is_charged_to_no_mail(
    phase: str, reply: str, mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    mailbox.script(phase, [reply, reply])
    start_worker(EMAIL_HOST_USER="user", EMAIL_HOST_PASSWORD="secret").ready()

    queue_vote_confirmation("ada@example.com", VOTE, attempts=1)

    mailbox.wait_for(1, timeout=15)
    eventually(lambda: get_queue_stats().main.completed == 1)
    assert counter(valkey, "normal:waited") == 2
    assert counter(valkey, "normal:retried") == counter(valkey, "normal:failed") == 0


def test_a_mail_whose_acceptance_was_not_heard_is_sent_again_with_the_same_message_id(
    mailbox: MailServer, work: Work
) -> None:
    mailbox.script("body", ["drop-after-accept"])
    queue_vote_confirmation("ada@example.com", VOTE, backoff=AT_ONCE)

    work(seconds=5)

    first, second = mailbox.messages
    assert first.message_id == second.message_id != ""
    assert (get_queue_stats().main.completed, get_queue_stats().main.ambiguous) == (1, 1)
    assert not DeadLetter.objects.exists()


def test_a_mail_whose_acceptance_was_not_heard_is_held_where_the_project_wants_that(
    mailbox: MailServer, work: Work, queue_settings: Callable[..., None]
) -> None:
    queue_settings(AMBIGUOUS="hold")
    mailbox.script("body", ["drop-after-accept"])
    queue_vote_confirmation("ada@example.com", VOTE, backoff=AT_ONCE)

    work(seconds=1)

    assert len(mailbox.messages) == 1
    assert DeadLetter.objects.get().reason == "ambiguous"
    assert (get_queue_stats().main.failed, get_queue_stats().main.ambiguous) == (1, 1)


def test_a_mail_whose_workers_die_is_a_dead_letter_after_the_third(
    mailbox: MailServer, work: Work, valkey: Redis
) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    for _ in range(3):
        assert len(claim_and_vanish(valkey, lease=0.02)) == 1
        time.sleep(0.05)

    work()

    assert DeadLetter.objects.get().reason == "crashed"
    assert mailbox.attempts == []


def test_a_delayed_and_a_scheduled_mail_go_out_at_their_time(mailbox: MailServer, start_worker: StartWorker) -> None:
    start_worker().ready()
    began = time.time()

    queue_vote_confirmation("delayed@example.com", VOTE, delay=timedelta(seconds=1))
    schedule_email("vote-confirmation", "scheduled@example.com", VOTE, timezone.now() + timedelta(seconds=1.5))
    schedule_email("vote-confirmation", "past@example.com", VOTE, timezone.now() - timedelta(days=1))

    mails = mailbox.wait_for(3)
    after = {mail.recipient: mail.received_at - began for mail in mails}
    assert after["past@example.com"] < 0.9
    assert 1 <= after["delayed@example.com"] < 2
    assert 1.5 <= after["scheduled@example.com"] < 2.5


def test_a_cancelled_mail_is_not_sent(mailbox: MailServer, work: Work) -> None:
    waiting = queue_vote_confirmation("waiting@example.com", VOTE)
    scheduled = queue_vote_confirmation("scheduled@example.com", VOTE, delay=0.2)
    sent = queue_vote_confirmation("ada@example.com", VOTE)

    cancelled = [cancel_email(waiting), cancel_email(scheduled)]
    work(seconds=1)

    assert cancelled == [True, True]
    assert [mail.recipient for mail in mailbox.messages] == ["ada@example.com"]
    assert not cancel_email(sent)
    assert not cancel_email("unknown")


def test_a_rescheduled_mail_goes_out_at_its_new_time(mailbox: MailServer, work: Work) -> None:
    later = queue_vote_confirmation("later@example.com", VOTE)
    sooner = queue_vote_confirmation("sooner@example.com", VOTE, delay=3600)
    began = time.time()

    moved = [
        reschedule_email(later, timezone.now() + timedelta(seconds=1)),
        reschedule_email(sooner, timezone.now()),
    ]
    work(seconds=5)

    assert moved == [True, True]
    assert [mail.recipient for mail in mailbox.messages] == ["sooner@example.com", "later@example.com"]
    assert mailbox.messages[1].received_at - began >= 1
    assert not reschedule_email(later, timezone.now())


def test_two_calls_with_one_idempotency_key_send_one_mail(mailbox: MailServer, work: Work) -> None:
    first = queue_vote_confirmation("ada@example.com", VOTE, idempotency_key="vote 7")
    second = queue_vote_confirmation("ada@example.com", VOTE, idempotency_key="vote 7")
    other = queue_vote_confirmation("ada@example.com", VOTE, idempotency_key="vote 8")
    work()
    third = queue_vote_confirmation("ada@example.com", VOTE, idempotency_key="vote 7")

    work()

    assert first == second == third != other
    assert len(mailbox.messages) == 2


def test_the_key_of_a_cancelled_mail_is_free_again(mailbox: MailServer, work: Work) -> None:
    first = queue_progress_update("ada@example.com", PROGRESS, idempotency_key="500 votes")
    cancel_email(first)
    second = queue_progress_update("ada@example.com", PROGRESS, idempotency_key="500 votes")

    work()

    assert first == second
    assert len(mailbox.messages) == 1


def waits_between(attempts: list[tuple[float, str]]) -> list[float]:
    times = [moment for moment, _recipient in attempts]
    return [later - earlier for earlier, later in pairwise(times)]


def counter(valkey: Redis, name: str) -> int:
    return int(valkey.hget("emailqueue:counters", name) or 0)
