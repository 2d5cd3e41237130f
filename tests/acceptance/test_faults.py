"""Workers die at the worst moments; no mail is lost, and none goes out twice unmarked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from redis import Redis

from emailqueue import get_queue_stats, queue_bulk_emails
from emailqueue.models import DeadLetter
from emailqueue.testing import MailServer
from events import queue_vote_confirmation
from tests.conftest import StartWorker, WorkerProcess, eventually
from tests.support.crashes import SHORT_LEASES, VOTE, addresses, all_completed, locked_database
from tests.support.valkey_proxy import ValkeyProxy

pytestmark = pytest.mark.usefixtures("valkey", "transactional_db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What the mail server had seen when a worker was killed."""

    at: float
    mails: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A worker that is to be killed, and another that comes after it."""

    mailbox: MailServer
    start: StartWorker

    def when(self, reached: Callable[[], object], **environ: str) -> Killed:
        """Start a worker, kill it as soon as `reached` is true, and start another."""
        victim: WorkerProcess = self.start(**SHORT_LEASES | environ)
        eventually(reached, timeout=20)
        killed = Killed(at=time.time(), mails=len(self.mailbox.messages))
        victim.kill()
        self.start(**SHORT_LEASES)
        return killed


@pytest.fixture
def crash(mailbox: MailServer, start_worker: StartWorker) -> Crash:
    return Crash(mailbox=mailbox, start=start_worker)


def test_a_worker_that_dies_before_it_reads_its_claim_loses_no_mail(
    crash: Crash, mailbox: MailServer, proxy: ValkeyProxy
) -> None:
    queue_bulk_emails("vote-confirmation", addresses(5), VOTE)
    proxy.hold_reply("claim")

    killed = crash.when(proxy.held.is_set, REDIS_URL=proxy.url)

    all_completed(5)
    sent_once(mailbox, 5, since=killed)


@pytest.mark.slow
def test_a_worker_that_dies_while_mails_wait_for_a_thread_loses_no_mail(
    crash: Crash, mailbox: MailServer, valkey: Redis
) -> None:
    stuck = [f"stuck-{number}@example.com" for number in range(5)]
    mailbox.rules.append(("stuck-*", ["stall 60", "250 ok"]))
    # The first fifty teach the worker that a mail takes little time, so that it claims some ahead.
    queue_bulk_emails("vote-confirmation", [*addresses(50), *stuck, *addresses(20, "behind")], VOTE)

    def all_are_stuck_and_more_are_claimed() -> bool:
        tried = {recipient for _, recipient in mailbox.attempts}
        # A mail that is sent and not settled yet may go out again; that is another test's point.
        first_are_settled = get_queue_stats().main.completed == 50
        return first_are_settled and tried >= set(stuck) and valkey.zcard("emailqueue:leases") > len(stuck)

    killed = crash.when(all_are_stuck_and_more_are_claimed)

    all_completed(75)
    sent_once(mailbox, 75, since=killed)


@pytest.mark.slow
def test_a_worker_that_dies_before_the_fence_loses_no_mail(mailbox: MailServer, start_worker: StartWorker) -> None:
    mailbox.replies = ["stall 60"]
    queue_vote_confirmation("ada@example.com", VOTE)
    victim = start_worker()
    eventually(lambda: mailbox.attempts, timeout=20)

    victim.kill()
    killed = Killed(at=time.time(), mails=0)
    start_worker()

    # Here with the lease of the default settings, elsewhere with a short one.
    all_completed(1)
    sent_once(mailbox, 1, since=killed)


def test_a_worker_that_dies_while_it_asks_for_the_fence_loses_no_mail(
    crash: Crash, mailbox: MailServer, proxy: ValkeyProxy
) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    proxy.hold_request("fence")

    killed = crash.when(proxy.held.is_set, REDIS_URL=proxy.url)

    all_completed(1)
    sent_once(mailbox, 1, since=killed)


def test_a_mail_is_counted_as_maybe_sent_when_its_worker_dies_before_it_hears_of_the_fence(
    crash: Crash, mailbox: MailServer, proxy: ValkeyProxy
) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    proxy.hold_reply("fence")

    killed = crash.when(proxy.held.is_set, REDIS_URL=proxy.url)

    all_completed(1)
    sent_once(mailbox, 1, since=killed, ambiguous=1)


def test_a_mail_is_counted_as_maybe_sent_when_its_worker_dies_before_the_body(
    crash: Crash, mailbox: MailServer, valkey: Redis
) -> None:
    mailbox.script("data", ["stall 60"])
    job_id = queue_vote_confirmation("ada@example.com", VOTE)

    killed = crash.when(lambda: valkey.hexists(f"rq:job:{job_id}", "fence"))
    mailbox.script("data", [])  # where it died before it could say DATA, the next one would be stalled

    all_completed(1)
    sent_once(mailbox, 1, since=killed, ambiguous=1)


def test_a_mail_goes_out_again_with_the_same_message_id_when_its_worker_dies_before_it_hears_the_answer(
    crash: Crash, mailbox: MailServer
) -> None:
    mailbox.script("body", ["stall 60"])
    queue_vote_confirmation("ada@example.com", VOTE)

    killed = crash.when(lambda: mailbox.messages)

    all_completed(1)
    sent_twice_alike(mailbox, since=killed)


def test_a_mail_goes_out_again_with_the_same_message_id_when_its_worker_dies_before_it_settles(
    crash: Crash, mailbox: MailServer, proxy: ValkeyProxy
) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    proxy.hold_request("settle")

    killed = crash.when(proxy.held.is_set, REDIS_URL=proxy.url)

    all_completed(1)
    sent_twice_alike(mailbox, since=killed)


def test_a_mail_is_sent_once_when_its_worker_dies_just_after_settling(
    crash: Crash, mailbox: MailServer, proxy: ValkeyProxy
) -> None:
    queue_vote_confirmation("ada@example.com", VOTE)
    proxy.hold_reply("settle")

    killed = crash.when(proxy.held.is_set, REDIS_URL=proxy.url)

    queue_vote_confirmation("bo@example.com", VOTE)
    all_completed(2)
    assert [mail.recipient for mail in mailbox.messages] == ["ada@example.com", "bo@example.com"]
    assert killed.mails == 1
    assert get_queue_stats().main.ambiguous == 0


def test_a_dead_letter_reaches_its_table_although_the_worker_dies_on_the_way(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    mailbox.replies = ["550 5.1.1 no such mailbox"]
    victim = start_worker().ready()

    with locked_database():
        queue_vote_confirmation("ada@example.com", VOTE)
        eventually(lambda: valkey.hlen("emailqueue:dead") == 1)
        victim.kill()
        assert not DeadLetter.objects.exists()
    start_worker()

    eventually(lambda: DeadLetter.objects.exists() and not valkey.hlen("emailqueue:dead"), timeout=30)
    assert DeadLetter.objects.get().attempts_charged == 1
    assert get_queue_stats().dlq.count == 1
    assert len(mailbox.attempts) == 1


def sent_once(mailbox: MailServer, count: int, *, since: Killed, ambiguous: int = 0) -> None:
    """Assert that each of `count` mails arrived once, and those that the killed worker had within 30 seconds."""
    assert set(Counter(mail.recipient for mail in mailbox.messages).values()) == {1}
    assert len(mailbox.messages) == count > since.mails
    assert mailbox.messages[-1].received_at - since.at < 30
    assert get_queue_stats().main.ambiguous == ambiguous


def sent_twice_alike(mailbox: MailServer, *, since: Killed) -> None:
    first, second = mailbox.messages
    assert first.received_at <= since.at <= second.received_at < since.at + 30
    assert first.message_id == second.message_id != ""
    assert get_queue_stats().main.ambiguous == 1
