from __future__ import annotations

import json
from typing import Any

import pytest

from emailqueue import Backoff
from emailqueue.conf import Settings
from emailqueue.jobs import Job
from emailqueue.outcome import LOST, SENT, UNSENT, Failure, Kind, Outcome
from emailqueue.settlement import HELD, after_run, before_run
from emailqueue.store import Settlement

DATA = json.dumps(["emailqueue.deliver.deliver", None, [], {"to": "ada@example.com"}]).encode()
CHARGED = {"kind": "transient", "charged": True}
HELD_ONCE = {"kind": "outage", "charged": False, "times": 1}


def job(**fields: Any) -> Job:
    plan = {"attempts": fields.pop("attempts", 3), "backoff": Backoff().as_json()}
    values = {"id": "ab12", "queue": "normal", "token": "7", "data": DATA, "plan": json.dumps(plan).encode(), **fields}
    return Job(**values)


def failed(kind: Kind) -> Outcome:
    return Outcome(kind=kind, failure=Failure(error_class="Refused", message="no", smtp_code=450))


def settled(job: Job, outcome: Outcome, settings: Settings | None = None) -> Settlement:
    settlement = after_run(job, outcome, settings or Settings(), worker="w1", seconds=0.5)
    assert settlement is not None
    assert settlement.seconds == 0.5
    return settlement


def death(settlement: Settlement | None) -> dict[str, Any]:
    assert settlement is not None
    assert settlement.verb == "dead"
    assert len(settlement.death) == 32
    record: dict[str, Any] = json.loads(settlement.record)
    return record


def test_a_sent_mail_is_done() -> None:
    settlement = settled(job(), SENT)

    assert settlement.verb == "sent"


def test_a_job_that_was_not_tried_goes_back_to_the_head() -> None:
    settlement = settled(job(), UNSENT)

    assert (settlement.verb, settlement.history) == ("head", "")


def test_nothing_is_written_about_a_job_whose_lease_is_lost() -> None:
    settlement = after_run(job(), LOST, Settings(), worker="w1", seconds=0.5)

    assert settlement is None


@pytest.mark.parametrize(("before", "wait"), [([], 2), ([CHARGED], 4), ([CHARGED, HELD_ONCE], 4)])
def test_a_transient_failure_is_retried_after_the_backoff(before: list[dict[str, Any]], wait: float) -> None:
    settlement = settled(job(history=tuple(before)), failed(Kind.TRANSIENT))

    assert (settlement.verb, settlement.due, settlement.charged, settlement.ambiguous) == ("retry", wait, True, False)
    history = json.loads(settlement.history)
    assert len(history) == len(before) + 1
    assert history[-1].items() >= {"kind": "transient", "charged": True, "worker": "w1", "smtp_code": 450}.items()


def test_the_last_attempt_that_fails_is_a_dead_letter_with_its_history() -> None:
    tried = job(history=(CHARGED, HELD_ONCE, CHARGED), label="vote-confirmation", letter="d0", created_at="then")

    record = death(settled(tried, failed(Kind.TRANSIENT)))

    assert record["reason"] == "exhausted"
    assert [attempt["kind"] for attempt in record["history"]] == ["transient", "outage", "transient", "transient"]
    assert (record["job_id"], record["queue"], record["label"]) == ("ab12", "normal", "vote-confirmation")
    assert (record["function"], record["arguments"]) == ("emailqueue.deliver.deliver", {"to": "ada@example.com"})
    assert (record["attempts"], record["backoff"]) == (3, Backoff().as_json())
    assert (record["letter"], record["created_at"], record["raw"]) == ("d0", "then", "")


def test_each_death_has_an_id_of_its_own() -> None:
    first, second = settled(job(), failed(Kind.PERMANENT)), settled(job(), failed(Kind.PERMANENT))

    assert first.death != second.death


@pytest.mark.parametrize("kind", [Kind.PERMANENT, Kind.MALFORMED])
def test_what_cannot_heal_is_a_dead_letter_at_once(kind: Kind) -> None:
    record = death(settled(job(), failed(kind)))

    assert record["reason"] == kind.value
    assert len(record["history"]) == 1


def test_a_job_that_cannot_be_read_dies_with_its_raw_bytes() -> None:
    record = death(settled(job(data=b"\xff\0pickled"), failed(Kind.MALFORMED)))

    assert (record["function"], record["arguments"], record["raw"]) == ("", None, "�␀pickled")


def test_an_outage_is_not_charged() -> None:
    settlement = settled(job(attempts=1, history=(CHARGED,)), failed(Kind.OUTAGE))

    assert (settlement.verb, settlement.due, settlement.charged) == ("retry", HELD, False)
    assert [attempt["charged"] for attempt in json.loads(settlement.history)] == [True, False]


def test_one_outage_is_one_entry_however_often_the_mail_is_held() -> None:
    held = job()
    for _ in range(3):
        held = job(history=tuple(json.loads(settled(held, failed(Kind.OUTAGE)).history)))

    assert [attempt["times"] for attempt in held.history] == [3]


def test_two_outages_with_an_attempt_between_them_are_two_entries() -> None:
    settlement = settled(job(history=(HELD_ONCE, CHARGED)), failed(Kind.OUTAGE))

    assert [attempt["charged"] for attempt in json.loads(settlement.history)] == [False, True, False]


def test_a_maybe_sent_mail_is_sent_again_and_counted_once() -> None:
    first = settled(job(), failed(Kind.AMBIGUOUS))
    second = settled(job(ambiguous=True), failed(Kind.AMBIGUOUS))

    assert (first.verb, first.ambiguous) == ("retry", True)
    assert (second.verb, second.ambiguous) == ("retry", False)


def test_a_maybe_sent_mail_is_held_where_the_project_says_so() -> None:
    settlement = settled(job(), failed(Kind.AMBIGUOUS), Settings(ambiguous="hold"))

    assert death(settlement)["reason"] == "ambiguous"
    assert settlement.ambiguous


def test_a_mail_that_was_maybe_sent_at_its_last_attempt_says_so() -> None:
    record = death(settled(job(attempts=1), failed(Kind.AMBIGUOUS)))

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
