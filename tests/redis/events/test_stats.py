"""What the figures tell of topics and subscribers."""

from __future__ import annotations

import pytest
from pytest_django import Settings
from redis import Redis

from emailqueue import get_queue_stats
from emailqueue.errors import InvalidSubscriber, RedisUnavailable
from emailqueue.events import get_event_stats, publish, subscribe
from emailqueue.events.stats import SubscriberStats
from emailqueue.events.subscribers import subscribers_of
from emailqueue.events.trail import read_trail
from emailqueue.redis import rq_queues
from events import topics
from tests.conftest import Work
from tests.support.parcels import AT_ONCE, HERE, PARCEL_SENT, VOTE, calls, rejoice, stumble, waiting

pytestmark = pytest.mark.usefixtures("subscribers_as_before")


def test_the_figures_tell_each_topic_and_subscriber(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT, attempts=1)(stumble)
    subscribe(PARCEL_SENT)(rejoice)
    publish(PARCEL_SENT, {"parcel": 7})
    publish(PARCEL_SENT, {"parcel": 8})
    work("events")
    PARCEL_SENT.disconnect(dispatch_uid=f"{HERE}.stumble")
    publish("vote.created", VOTE)

    stats = get_event_stats()

    parcels, votes = stats.topics["parcel.sent"], stats.topics["vote.created"]
    assert (stats.waiting, stats.active, stats.delayed, stats.completed, stats.failed) == (1, 0, 0, 4, 2)
    assert (parcels.published, votes.published, stats.topics["reward.earned"].published) == (2, 1, 0)
    assert parcels.subscribers == {
        f"{HERE}.rejoice": SubscriberStats(run=2, skipped=0, failed=0),
        f"{HERE}.stumble": SubscriberStats(run=0, skipped=0, failed=2),
    }
    assert votes.subscribers == {"events.receivers.confirm_vote": SubscriberStats(run=0, skipped=0, failed=0)}


def test_without_redis_there_are_no_figures(settings: Settings) -> None:
    settings.RQ_QUEUES = rq_queues("redis://127.0.0.1:1/0")

    with pytest.raises(RedisUnavailable, match="Redis did not answer, so there are no figures"):
        get_event_stats()

    assert subscribers_of(topics.VOTE_CREATED)


def test_a_subscriber_may_stand_in_line_with_the_mails_and_is_none(valkey: Redis, work: Work) -> None:
    subscribe(PARCEL_SENT, queue="low", attempts=2, backoff=AT_ONCE)(stumble)
    subscribe(PARCEL_SENT, queue="low")(rejoice)
    event_id = publish(PARCEL_SENT, {"parcel": 7})
    work("events")
    before = list(calls)
    waits = [job.label.rpartition(".")[2] for job in waiting(valkey, "low")]

    work("low", seconds=5)

    mails, stats = get_queue_stats(), get_event_stats()
    assert (before, waits) == ([], ["stumble", "rejoice"])
    assert sorted(calls) == ["rejoice", "stumble", "stumble"]
    assert (mails.main.completed, mails.main.failed, mails.main.retried, mails.dlq.count) == (0, 0, 0, 1)
    assert (stats.completed, stats.failed) == (2, 1)
    assert {told.job.queue for told in read_trail(event_id).subscribers} == {"low"}


def test_a_queue_that_is_not_ours_is_refused_at_once() -> None:
    with pytest.raises(InvalidSubscriber, match=r"'slow' is no queue for subscribers\. Use one of critical"):
        subscribe(PARCEL_SENT, queue="slow")
