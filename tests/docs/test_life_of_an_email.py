"""docs/life-of-an-email.md, held against modules, scripts, and the keys that stand in Redis in a busy life."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from redis import Redis

from emailqueue import cancel_email, flow, get_queue_stats, queue_bulk_emails, queue_email
from emailqueue.conf import Settings
from emailqueue.delivery.deliver import deliver
from emailqueue.delivery.smtp import CHECK_AFTER, RECYCLE_AFTER, RECYCLE_SECONDS
from emailqueue.enqueue.relay import relay
from emailqueue.events import publish
from emailqueue.jobs.functions import DELIVER, function_named
from emailqueue.models import Attempt, DeadLetter
from emailqueue.redis.report import write_a_key
from emailqueue.store import PIECE, STAGED, Store
from emailqueue.testing import MailServer
from emailqueue.worker.claimed import AHEAD, SETTLE_WITHIN
from emailqueue.worker.settlement import MAX_CRASHES
from tests.conftest import StartWorker, Work, claim_and_vanish, eventually
from tests.support.tables import ROOT, code, page, section, table

PAGE = page("life-of-an-email")
TEXT = " ".join(PAGE.path.read_text().split())
KEYS = {key for row in table(PAGE, "key", "is", "holds") for key in code(row[0])}
REWARD = {"reward_name": "Badge"}
VOTE = {"voter_email": "ada@example.com", "model_name": "Tern", "model_id": 7}


def pattern(key: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\b[A-Z]+\b", "[^:]+(:.+)?", key))


def test_each_module_of_the_page_exists() -> None:
    named = {word for word in code(PAGE.path.read_text()) if word.endswith(".py")}

    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_each_script_of_the_page_exists_and_each_script_that_moves_a_mail_is_told() -> None:
    named = {word for word in code(PAGE.path.read_text()) if word.endswith(".lua")}
    # The first cancels or reschedules, the second writes the trail of an event; the others only read.
    others = {"move.lua", "record.lua", "view.lua", "counts.lua", "whereabouts.lua"}

    assert named == {path.name for path in (ROOT / "emailqueue" / "store" / "lua").glob("*.lua")} - others


def test_each_dotted_name_of_the_page_exists() -> None:
    named = {word for word in code(PAGE.path.read_text()) if re.fullmatch(r"emailqueue(\.\w+)+", word)}

    assert named == {DELIVER}
    assert function_named(DELIVER) is deliver


def test_the_tables_of_the_database_have_these_names() -> None:
    named = {word for word in code(PAGE.path.read_text()) if re.fullmatch(r"emailqueue_\w+", word)}

    assert named == {DeadLetter._meta.db_table, Attempt._meta.db_table}


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"more than {PIECE} stores" in TEXT
    assert f"send in {AHEAD * 1000:g} ms" in TEXT
    assert f"within {SETTLE_WITHIN * 1000:g} ms" in TEXT
    assert f"kept for {RECYCLE_AFTER} mails or {RECYCLE_SECONDS:g} s" in TEXT
    assert f"idle for {CHECK_AFTER:g} s" in TEXT
    assert (MAX_CRASHES, "three workers have died" in TEXT) == (3, True)
    assert (STAGED, "expire in an hour" in TEXT) == (3600, True)
    assert "2 s, 4 s" in TEXT
    assert [Settings().backoff.wait(number) for number in (1, 2)] == [2, 4]


def test_every_step_that_can_fail_has_a_row() -> None:
    steps = re.findall(r"(?m)^(\d+)\. ", section(PAGE, "From the call to the mail server"))
    told = {
        step
        for row in table(PAGE, "step", "what goes wrong", "what becomes of the mail", "proof")
        for step in row[0].split(", ")
    }

    assert steps == [str(number) for number in range(1, 13)]
    assert told == set(steps)


def test_each_key_of_the_source_is_told_and_each_that_is_told_stands_in_the_source() -> None:
    ours = {re.sub(r"\b[A-Z]+\b.*", "", key) for key in KEYS if not key.startswith("rq:")}

    assert ours == set(keys_of_the_source())


def test_the_keys_of_a_busy_life_are_those_of_the_page(
    mailbox: MailServer, valkey: Redis, work: Work, start_worker: StartWorker
) -> None:
    mailbox.rules += [
        ("dead@*", ["550 5.1.1 no such mailbox"]),
        ("later@*", ["451 4.3.0 later"]),
        ("*@slow.example", ["421 4.7.0 slower"]),
    ]
    seen: set[str] = set()

    def look(*, then: bool = True) -> bool:
        keys: Any = valkey.keys("*")
        seen.update(key.decode() for key in keys)
        return then

    queue_bulk_emails("reward-delivery", [f"reader-{number}@example.com" for number in range(600)], REWARD)
    schedule = queue_email("reward-delivery", "ada@example.com", REWARD, delay=3600, idempotency_key="one")
    for to in ("dead@example.com", "later@example.com", "bob@slow.example"):
        queue_email("reward-delivery", to, REWARD)
    publish("vote.created", VOTE)
    flow.pause("low")
    write_a_key(valkey)
    claim_and_vanish(valkey, "high", lease=0.01)
    look()
    worker = start_worker().ready()
    eventually(lambda: look(then=get_queue_stats().main.completed >= 600), 30)
    eventually(lambda: look(then=DeadLetter.objects.exists()))
    relay(Store(valkey))
    cancel_email(schedule)
    look()
    worker.stop()
    look()

    strange = {key for key in seen if not any(pattern(told).fullmatch(key) for told in KEYS)}
    never = {told for told in KEYS if not any(pattern(told).fullmatch(key) for key in seen)}
    assert strange == set()
    # Of ours, whether each stands in the source is asked above: some want an outage, or the right moment.
    assert {key for key in never if key.startswith("rq:")} <= {"rq:failed:QUEUE", "rq:suspended"}


def keys_of_the_source() -> Iterator[str]:
    """Yield what each key of ours begins with, up to what is filled in."""
    for file in [*(ROOT / "emailqueue").rglob("*.py"), *(ROOT / "emailqueue").rglob("*.lua")]:
        if file.name not in ("job.py", "subscription.py") and "testing" not in file.parts:
            yield from re.findall(r"""["'](emailqueue:[a-z:]+|events:[a-z:]+)""", file.read_text())
    yield from ("emailqueue:minute:", "emailqueue:hour:")  # made in series.lua
