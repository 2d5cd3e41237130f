"""`manage.py events`: what it lists, traces and simulates, and that a simulation tells the truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any, NoReturn

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import transaction
from pytest_django import Settings
from redis import Redis

from emailqueue import queue_bulk_emails, queue_email
from emailqueue.errors import EmailQueueError, InvalidPayload
from emailqueue.events import Event, Topic, publish, subscribe, subscribe_email, topics
from emailqueue.events.simulation import simulate
from emailqueue.events.trail import read_trail
from emailqueue.management.event_verbs.simulate import REAL
from emailqueue.models import DeadLetter
from emailqueue.redis import rq_queues
from emailqueue.schema import Address
from emailqueue.testing.mailserver import MailServer
from tests.conftest import Work

REWARD = {"reward_name": "Mug"}
FANS = ["ada@example.com", "bob@example.com"]
VOTE = {"voter_email": "ada@example.com", "model_name": "Ada", "model_id": 7}


@dataclass(frozen=True, kw_only=True)
class TicketSold:
    ticket: int
    user_email: Address
    fans: list[str] | None = None
    reward_name: str = "Mug"


TICKET_SOLD = Topic("ticket.sold", payload=TicketSold)
TICKET = {"ticket": 7, "user_email": "eve@example.com", "fans": FANS}


def thank_on_commit(event: Event) -> None:
    def later() -> None:
        queue_email("reward-delivery", "later@example.com", REWARD)

    with transaction.atomic(durable=True):
        Group.objects.create(name=f"buyers of {event.ticket}")
        queue_email("reward-delivery", event.user_email, REWARD, delay=60)
        transaction.on_commit(fail, robust=True)
        transaction.on_commit(later)


def fail() -> NoReturn:
    raise ConnectionError("the warehouse is away")


def thank_and_fail_after_the_commit(event: Event) -> None:
    with transaction.atomic():
        queue_email("reward-delivery", "never@example.com", REWARD)
        transaction.on_commit(fail)


def thank_and_roll_back(event: Event) -> None:
    with transaction.atomic():
        queue_email("reward-delivery", "never@example.com", REWARD)
        transaction.set_rollback(True)
    queue_email("reward-delivery", "after@example.com", REWARD)


async def tell_fans(event: Event) -> None:
    queue_bulk_emails("reward-delivery", event.fans or [], REWARD, priority="low")


def sell_another(event: Event) -> None:
    publish("vote.created", VOTE)


def stumble(event: Event) -> None:
    Group.objects.create(name="never")
    queue_email("reward-delivery", "never@example.com", REWARD)
    raise ConnectionError("the warehouse is away")


HANDLERS: list[Callable[[Event], object]] = [thank_on_commit, thank_and_roll_back, tell_fans, sell_another]


@pytest.fixture(autouse=True)
def _nobody_subscribes() -> Iterator[None]:
    yield
    TICKET_SOLD.receivers.clear()


def command(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("events", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def queued(valkey: Redis) -> Counter[tuple[str, str, str, str]]:
    jobs = []
    for key in valkey.keys("rq:job:*"):
        stored: Any = valkey.hgetall(key)
        _function, _, _, arguments = json.loads(stored[b"data"])
        if "to" in arguments:
            context = json.dumps(arguments["context"], sort_keys=True)
            jobs.append((stored[b"description"].decode(), arguments["to"], stored[b"origin"].decode(), context))
    return Counter(jobs)


def test_a_simulation_equals_what_publishing_then_does(valkey: Redis, work: Work) -> None:
    for handler in HANDLERS:
        subscribe(TICKET_SOLD)(handler)
    subscribe(TICKET_SOLD, attempts=1)(stumble)
    subscribe(TICKET_SOLD, attempts=1)(thank_and_fail_after_the_commit)
    subscribe_email(TICKET_SOLD, "reward-delivery", to="fans", when={"ticket": [8, 9]})
    subscribe_email(TICKET_SOLD, "reward-delivery", to="user_email", when=lambda event: event.ticket == 7)

    runs = simulate(TICKET_SOLD, TICKET)
    before = (valkey.keys("rq:*"), valkey.keys("events:*"), Group.objects.count())
    event_id = publish(TICKET_SOLD, TICKET)
    work("events")
    told = read_trail(event_id).subscribers

    simulated = [(run.subscriber, run.result, run.reason) for run in runs if run.topic == "ticket.sold"]
    mails = Counter(
        (job.type, job.to, job.queue, json.dumps(job.context, sort_keys=True))
        for run in runs
        for job in run.queued
        if job.to
    )
    assert before == ([], [], 0)
    assert set(Group.objects.values_list("name", flat=True)) == {"buyers of 7", "never"}
    assert simulated == [(one.name, one.attempts[-1].result, one.attempts[-1].reason) for one in told]
    assert {result for _, result, _ in simulated} == {"ran", "skipped", "failed"}
    assert mails == queued(valkey)
    assert mails.total() == 7
    assert [run.topic for run in runs][-1] == "vote.created"


def test_a_simulation_sends_nothing_and_runs_no_hook_of_its_caller(
    valkey: Redis, work: Work, mailbox: MailServer
) -> None:
    ran: list[str] = []
    subscribe(TICKET_SOLD)(thank_on_commit)

    with transaction.atomic():
        transaction.on_commit(lambda: ran.append("hook of the caller"))
        runs = simulate(TICKET_SOLD, TICKET)
        during = list(ran)
    work()

    assert [(job.to, job.due) for job in runs[0].queued] == [
        ("eve@example.com", "+60.000000"),
        ("later@example.com", ""),
    ]
    assert (during, ran) == ([], ["hook of the caller"])
    assert mailbox.messages == []


@pytest.mark.django_db
def test_a_wrong_payload_is_not_simulated() -> None:
    with pytest.raises(InvalidPayload, match=r"'ticket\.sold' needs 'user_email'"):
        simulate("ticket.sold", {"ticket": 7})


@pytest.mark.django_db
def test_events_that_lead_to_each_other_are_not_followed_for_ever() -> None:
    TICKET_SOLD.connect(sell_again)

    runs = simulate(TICKET_SOLD, TICKET)

    assert len(runs) == 20


def sell_again(event: Event, **kwargs: object) -> None:
    publish(TICKET_SOLD, TICKET)


@pytest.mark.django_db
def test_the_list_shows_topics_fields_subscribers_filters_and_figures(valkey: Redis, work: Work) -> None:
    subscribe(TICKET_SOLD, attempts=5, when={"ticket": [8, 9]})(tell_fans)
    publish(TICKET_SOLD, TICKET)
    work("events")

    text, _ = command("list")
    [listed] = [topic for topic in json.loads(command("list", "--json")[0]) if topic["name"] == "ticket.sold"]

    assert (
        "ticket.sold · 1 published\n    ticket: a whole number\n    user_email: an e-mail address\n    fans?: a list"
        in text
    )
    assert (
        f"  → {__name__}.tell_fans · when ticket is 8 or 9 · 5 attempts · queue events · run 0 · skipped 1 · failed 0\n"
        in text
    )
    assert "  → events.receivers.confirm_vote · 3 attempts · queue events · run 0" in text
    assert listed["subscribers"][0]["figures"] == {"run": 0, "skipped": 1, "failed": 0}


def test_without_redis_the_list_has_no_figures(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1/0")

    text, _ = command("list")

    assert "ticket.sold\n" in text
    assert "  → nobody\n" in text
    assert "  → events.receivers.confirm_vote · 3 attempts · queue events\n" in text


def test_a_trace_tells_what_became_of_an_event_and_its_mails(valkey: Redis, work: Work) -> None:
    for handler in HANDLERS:
        subscribe(TICKET_SOLD)(handler)
    subscribe(TICKET_SOLD, attempts=1)(stumble)
    subscribe_email(TICKET_SOLD, "reward-delivery", to="fans", when={"ticket": [8, 9]})
    event_id = publish(TICKET_SOLD, TICKET)
    early, _ = command("trace", event_id)
    work("events")

    text, _ = command("trace", event_id)
    stored = json.loads(command("trace", event_id, "--json")[0])
    [mail] = [mail for one in stored["subscribers"] for mail in one["queued"] if mail["queue"] == "high"][-1:]
    by_mail, _ = command("trace", mail["id"])
    [nested] = [mail for one in stored["subscribers"] for mail in one["queued"] if mail["queue"] == "events"]
    of_nested, _ = command("trace", nested["id"])

    assert f"ticket.sold · event {event_id} · published 2" in text
    assert "the event itself: waiting" in early
    assert f"  → {__name__}.stumble: dead letter " in text
    assert "failed: ConnectionError: the warehouse is away\n" in text
    assert "skipped: ticket is 7, not 8 or 9\n" in text
    assert f"      queued reward-delivery, high · {mail['id']}: waiting\n" in text
    assert by_mail == text
    assert of_nested.startswith(f"vote.created · event {nested['id']} · ")
    assert f"  published by a subscriber of event {event_id}\n" in of_nested


def test_a_trace_counts_the_mails_that_it_does_not_name_and_tells_of_retries(valkey: Redis, work: Work) -> None:
    subscribe(TICKET_SOLD)(tell_fans)
    subscribe(TICKET_SOLD, attempts=1)(stumble)
    event_id = publish(TICKET_SOLD, {**TICKET, "fans": [f"fan{number}@example.com" for number in range(301)]})
    work("events")
    letter = DeadLetter.objects.get()
    letter.retry()
    work("events")

    text, _ = command("trace", event_id)

    assert "      … 1 more, in all 301 reward-delivery\n" in text
    assert f"      attempt 1 of 1, dead letter {letter.pk} retried · " in text


def test_a_trace_shows_why_an_event_was_not_dispatched(
    valkey: Redis, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = publish(TICKET_SOLD, TICKET)
    with monkeypatch.context() as patch:
        patch.delitem(topics._registry, "ticket.sold")
        work("events")

    text, _ = command("trace", event_id)

    assert "  the event itself: scheduled, or waiting for a retry\n" in text
    assert " failed: UnknownTopic: 'ticket.sold' is not a topic." in text


def test_an_event_that_nobody_took_says_so(valkey: Redis, work: Work) -> None:
    event_id = publish(TICKET_SOLD, TICKET)
    work("events")

    text, _ = command("trace", event_id)
    simulated, _ = command("simulate", "ticket.sold", json.dumps(TICKET))

    assert "  → nobody is subscribed\n" in text
    assert simulated == "Nobody is subscribed.\n"


def test_a_simulation_is_shown_with_its_warning(valkey: Redis, transactional_db: None) -> None:
    subscribe(TICKET_SOLD)(thank_on_commit)
    subscribe(TICKET_SOLD)(sell_another)

    text, warning = command("simulate", "ticket.sold", json.dumps(TICKET))
    stored = json.loads(command("simulate", "ticket.sold", json.dumps(TICKET), "--json")[0])

    assert f"ticket.sold → {__name__}.thank_on_commit: ran\n" in text
    assert 'reward-delivery · eve@example.com · high · due +60.000000 · {"reward_name": "Mug", "claim' in text
    assert "    vote.created · event · events · {" in text
    assert warning.strip() == REAL
    assert [run["result"] for run in stored] == ["ran"] * 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trace", "nothing"], "'nothing' leads to no event"),
        (["simulate", "ticket.sold", "{"], "The payload is no JSON"),
        (["simulate", "ticket.sold", "[]"], "The payload of 'ticket.sold' is"),
        (["simulate", "ticket.lost", "{}"], "'ticket.lost' is not a topic"),
    ],
)
def test_what_the_command_cannot_do_is_told_in_a_sentence(valkey: Redis, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as raised:
        command(*arguments)

    assert raised.value.__cause__ is None or isinstance(raised.value.__cause__, EmailQueueError | ValueError)
