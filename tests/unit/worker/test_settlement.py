from __future__ import annotations

import json
from typing import Any

import pytest

from emailqueue import Backoff
from emailqueue.conf import Settings
from emailqueue.jobs.ends import End
from emailqueue.jobs.functions import DELIVER
from emailqueue.jobs.job import Call, Job
from emailqueue.jobs.outcome import BACK, LOST, SENT, Failure, Outcome
from emailqueue.store import Settlement
from emailqueue.worker.settlement import after_run, before_run

CALL = Call(function=DELIVER, arguments={"to": "ada@example.com"})
CHARGED = {"kind": "retry", "charged": True}
HELD_ONCE = {"kind": "wait", "charged": False, "times": 1}


def job(**fields: Any) -> Job:
    values = {"id": "ab12", "queue": "normal", "token": "7", "call": CALL, "attempts": 3, **fields}
    return Job(**values)


def failed(end: End, *, smtp_code: int | None = 450, phase: str = "", **flags: Any) -> Outcome:
    failure = Failure(error_class="Refused", message="no", smtp_code=smtp_code, phase=phase)
    return Outcome(end=end, failure=failure, **flags)


def settled(job: Job, outcome: Outcome, settings: Settings | None = None) -> Settlement:
    settlement = after_run(job, outcome, settings or Settings(), worker="w1", seconds=0.5)
    assert settlement is not None
    assert settlement.seconds == 0.5
    return settlement


def death(settlement: Settlement | None) -> dict[str, Any]:
    assert settlement is not None
    assert settlement.verb == "dead"
    assert len(settlement.inbox_id) == 32
    record: dict[str, Any] = json.loads(settlement.record)
    return record


def test_a_sent_mail_is_done() -> None:
    settlement = settled(job(), SENT)

    assert settlement.verb == "sent"


def test_a_job_that_was_not_tried_goes_back_to_the_head() -> None:
    settlement = settled(job(), BACK)

    assert (settlement.verb, settlement.history) == ("back", "")


def test_nothing_is_written_about_a_job_whose_lease_is_lost() -> None:
    settlement = after_run(job(), LOST, Settings(), worker="w1", seconds=0.5)

    assert settlement is None


@pytest.mark.parametrize(("before", "wait"), [([], 2), ([CHARGED], 4), ([CHARGED, HELD_ONCE], 4)])
def test_a_transient_failure_is_retried_after_the_backoff(before: list[dict[str, Any]], wait: float) -> None:
    settlement = settled(job(history=tuple(before)), failed(End.RETRY))

    assert (settlement.verb, settlement.due, settlement.ambiguous) == ("retry", wait, False)
    history = json.loads(settlement.history)
    assert len(history) == len(before) + 1
    assert history[-1].items() >= {"kind": "retry", "charged": True, "worker": "w1", "smtp_code": 450}.items()


def test_the_last_attempt_that_fails_is_a_dead_letter_with_its_history() -> None:
    tried = job(history=(CHARGED, HELD_ONCE, CHARGED), label="vote-confirmation", dead_letter="d0", created_at="then")

    record = death(settled(tried, failed(End.RETRY)))

    assert record["reason"] == "exhausted"
    assert [attempt["kind"] for attempt in record["history"]] == ["retry", "wait", "retry", "retry"]
    assert (record["job_id"], record["queue"], record["label"]) == ("ab12", "normal", "vote-confirmation")
    assert (record["function"], record["arguments"]) == (
        DELIVER,
        {"to": "ada@example.com"},
    )
    assert (record["attempts"], record["backoff"]) == (3, Backoff().as_json())
    assert (record["dead_letter"], record["created_at"], record["raw"]) == ("d0", "then", "")


def test_each_death_has_an_id_of_its_own() -> None:
    first, second = settled(job(), failed(End.PERMANENT)), settled(job(), failed(End.PERMANENT))

    assert first.inbox_id != second.inbox_id


@pytest.mark.parametrize(
    ("end", "reason"),
    [(End.PERMANENT, "permanent"), (End.BAD_ADDRESS, "permanent"), (End.MALFORMED, "malformed")],
)
def test_what_cannot_heal_is_a_dead_letter_at_once(end: End, reason: str) -> None:
    record = death(settled(job(), failed(end)))

    assert record["reason"] == reason
    assert len(record["history"]) == 1


def test_a_job_that_cannot_be_read_dies_with_its_raw_bytes() -> None:
    record = death(settled(job(call=Call.read(b"\xff\0pickled")), failed(End.MALFORMED)))

    assert (record["function"], record["arguments"], record["raw"]) == ("", None, "�␀pickled")


def test_an_outage_is_not_charged() -> None:
    settlement = settled(job(attempts=1, history=(CHARGED,)), failed(End.WAIT))

    assert (settlement.verb, settlement.is_outage, settlement.reached) == ("wait", True, False)
    assert [attempt["charged"] for attempt in json.loads(settlement.history)] == [True, False]


def test_one_outage_is_one_entry_however_often_the_mail_is_held() -> None:
    held = job()
    for _ in range(3):
        held = job(history=tuple(json.loads(settled(held, failed(End.WAIT)).history)))

    assert [attempt["times"] for attempt in held.history] == [3]


def test_an_outage_and_what_else_charges_nothing_are_two_entries() -> None:
    throttled = {"kind": "throttle", "charged": False, "times": 3}

    settlement = settled(job(history=(throttled,)), failed(End.WAIT))

    assert [(attempt["kind"], attempt["times"]) for attempt in json.loads(settlement.history)] == [
        ("throttle", 3),
        ("wait", 1),
    ]


@pytest.mark.parametrize("about_account", [True, False])
def test_a_refused_account_raises_an_alert(about_account: bool) -> None:
    settlement = settled(job(), failed(End.WAIT, about_account=about_account))

    assert settlement.alert is about_account


def test_a_mail_that_cannot_even_connect_is_not_to_blame() -> None:
    settlement = settled(job(attempts=1), failed(End.WAIT, before_contact=True))

    assert settlement.otherwise is None


@pytest.mark.parametrize(("attempts", "verb"), [(3, "retry"), (1, "dead")])
def test_a_mail_that_fails_later_may_be_to_blame_itself(attempts: int, verb: str) -> None:
    settlement = settled(job(attempts=attempts), failed(End.WAIT, phase="mail"))

    assert settlement.otherwise is not None
    assert settlement.otherwise.verb == verb


@pytest.mark.parametrize(
    ("outcome", "reached"),
    [
        (SENT, True),
        (BACK, False),
        (failed(End.RETRY, phase="rcpt"), True),
        (failed(End.PERMANENT, phase="body"), True),
        (failed(End.RETRY), False),
        (failed(End.RETRY, phase="mail"), False),
        (failed(End.WAIT, phase="rcpt"), False),
        (failed(End.AMBIGUOUS, smtp_code=None, phase="body"), False),
    ],
)
def test_what_shows_that_the_server_takes_mail(outcome: Outcome, reached: bool) -> None:
    settlement = settled(job(), outcome)

    assert settlement.reached is reached


def test_an_event_says_nothing_about_the_mail_server() -> None:
    settlement = settled(job(queue="events"), SENT)

    assert not settlement.reached


def test_two_outages_with_an_attempt_between_them_are_two_entries() -> None:
    settlement = settled(job(history=(HELD_ONCE, CHARGED)), failed(End.WAIT))

    assert [attempt["charged"] for attempt in json.loads(settlement.history)] == [False, True, False]


def test_a_maybe_sent_mail_is_sent_again_and_counted_once() -> None:
    first = settled(job(), failed(End.AMBIGUOUS))
    second = settled(job(ambiguous=True), failed(End.AMBIGUOUS))

    assert (first.verb, first.ambiguous) == ("retry", True)
    assert (second.verb, second.ambiguous) == ("retry", False)


def test_a_maybe_sent_mail_is_held_where_the_project_says_so() -> None:
    settlement = settled(job(), failed(End.AMBIGUOUS), Settings(ambiguous="hold"))

    assert death(settlement)["reason"] == "ambiguous"
    assert settlement.ambiguous


def test_a_mail_that_was_maybe_sent_at_its_last_attempt_says_so() -> None:
    record = death(settled(job(attempts=1), failed(End.AMBIGUOUS)))

    assert record["reason"] == "ambiguous"


def test_a_fresh_job_may_run() -> None:
    settlement = before_run(job(crashes=2), Settings(), worker="w1")

    assert settlement is None


def test_an_event_job_may_crash_more_often() -> None:
    nine = before_run(job(queue="events", crashes=9), Settings(), worker="w1")
    ten = before_run(job(queue="events", crashes=10), Settings(), worker="w1")

    assert nine is None
    assert death(ten)["reason"] == "crashed"


def test_three_crashes_make_a_dead_letter() -> None:
    record = death(before_run(job(crashes=3), Settings(), worker="w1"))

    assert record["reason"] == "crashed"
    assert "3 workers died" in record["history"][-1]["message"]


def test_a_mail_whose_worker_died_after_the_fence_runs_again_unless_it_is_to_be_held() -> None:
    again = before_run(job(ambiguous=True), Settings(), worker="w1")
    held = before_run(job(ambiguous=True), Settings(ambiguous="hold"), worker="w1")

    assert again is None
    assert held is not None
    assert not held.ambiguous, "it was counted when its lease ran out"
    assert death(held)["reason"] == "ambiguous"


@pytest.mark.parametrize("history", [(), (CHARGED, HELD_ONCE)])
def test_a_mail_that_has_waited_for_too_long_is_a_dead_letter_that_says_so(history: tuple[dict[str, Any], ...]) -> None:
    old = job(due_at=1000.0, claimed_at=1000.0 + 3601, history=history)

    record = death(before_run(old, Settings(max_age=3600), worker="w1"))

    assert record["reason"] == "expired"
    last = record["history"][-1]
    assert (last["kind"], last["charged"]) == ("expired", False)
    assert "waited 1.0 hours since it was due" in last["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"due_at": 1000.0, "claimed_at": 1000.0 + 3600},
        {"due_at": 0.0, "claimed_at": 1_700_000_000.0},  # written before jobs had that field
        {"due_at": 1000.0, "claimed_at": 9000.0, "queue": "events"},
    ],
    ids=["in time", "unknown", "event"],
)
def test_what_is_not_too_old_runs(fields: dict[str, Any]) -> None:
    settlement = before_run(job(**fields), Settings(max_age=3600), worker="w1")

    assert settlement is None


def test_an_old_mail_that_was_maybe_sent_says_that_too() -> None:
    old = job(due_at=1000.0, claimed_at=9000.0, ambiguous=True)

    record = death(before_run(old, Settings(max_age=3600), worker="w1"))

    assert record["history"][-1]["message"].endswith("An earlier attempt may have sent it.")


def test_a_domain_that_asks_to_go_slower_costs_no_attempt_and_shows_that_the_server_takes_mail() -> None:
    settlement = settled(job(attempts=1), failed(End.THROTTLE, phase="rcpt"))

    assert (settlement.verb, settlement.reached) == ("throttle", True)
    [attempt] = json.loads(settlement.history)
    assert (attempt["kind"], attempt["charged"]) == ("throttle", False)
