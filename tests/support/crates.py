"""A topic of a project whose events leave a trail, and its subscribers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emailqueue import queue_bulk_emails, queue_email
from emailqueue.events import Event, Topic
from emailqueue.events.trail import SubscriberTrail, Trail

HERE = __name__

REWARD = {"reward_name": "Mug"}


@dataclass(frozen=True, kw_only=True)
class CrateOpened:
    crate: int
    fans: list[str] | None = None


CRATE_OPENED = Topic("crate.opened", payload=CrateOpened)


def reward(event: Event) -> None:
    queue_email("reward-delivery", "ada@example.com", REWARD)


def reward_all(event: Event) -> None:
    queue_bulk_emails("reward-delivery", event.fans, REWARD)


def stumble(event: Event) -> None:
    queue_email("reward-delivery", "ada@example.com", REWARD)
    raise ConnectionError("the warehouse is away")


def of(handler: Any, trail: Trail) -> SubscriberTrail:
    [found] = [told for told in trail.subscribers if told.name == f"{handler.__module__}.{handler.__name__}"]
    return found
