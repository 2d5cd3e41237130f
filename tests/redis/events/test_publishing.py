"""How an event is published: one job, with the commit, once for each key."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from redis import Redis

from emailqueue.errors import InvalidIdempotencyKey, InvalidPayload
from emailqueue.events import publish
from emailqueue.jobs.priority import EMAIL_QUEUES
from events import publish_event
from tests.support.parcels import AUDIENCE, VOTE, waiting

pytestmark = pytest.mark.usefixtures("subscribers_as_before")


def test_an_event_is_one_job_whatever_its_audience(valkey: Redis) -> None:
    event_id = publish_event.model_progress_milestone(
        {
            "model_id": 7,
            "model_name": "Ada",
            "vote_count": 100,
            "milestone": 100,
            "subscriber_emails": AUDIENCE,
        }
    )

    [job] = waiting(valkey, "events", *EMAIL_QUEUES)

    assert len(event_id) == 32
    assert (job.queue, job.label, job.arguments["event"]["id"]) == (
        "events",
        "model.progress_milestone",
        event_id,
    )


def test_an_invalid_payload_publishes_nothing(valkey: Redis) -> None:
    with pytest.raises(InvalidPayload):
        publish("vote.created", {**VOTE, "model_name": None})

    assert waiting(valkey, "events") == []


@pytest.mark.django_db(transaction=True)
def test_an_event_appears_with_the_commit(valkey: Redis) -> None:
    with transaction.atomic():
        publish("vote.created", VOTE)
        before = waiting(valkey, "events")

    after = waiting(valkey, "events")

    assert (before, len(after)) == ([], 1)


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_event_never_happened(valkey: Redis) -> None:
    with transaction.atomic():
        publish("vote.created", VOTE, idempotency_key="vote 7")
        transaction.set_rollback(True)
    rolled_back = waiting(valkey, "events")

    publish("vote.created", VOTE, idempotency_key="vote 7")

    assert (rolled_back, len(waiting(valkey, "events"))) == ([], 1)


def test_the_same_key_is_the_same_event(valkey: Redis) -> None:
    first = publish("vote.created", VOTE, idempotency_key="vote 7")

    again = publish("vote.created", VOTE, idempotency_key="vote 7")
    elsewhere = publish("parcel.sent", {"parcel": 7}, idempotency_key="vote 7")

    assert first == again != elsewhere
    assert [job.label for job in waiting(valkey, "events")] == ["vote.created", "parcel.sent"]


@pytest.mark.parametrize("key", ["", "x" * 501, 7])
def test_a_senseless_key_is_refused(valkey: Redis, key: Any) -> None:
    with pytest.raises(InvalidIdempotencyKey):
        publish("vote.created", VOTE, idempotency_key=key)

    assert waiting(valkey, "events") == []
