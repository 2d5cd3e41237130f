"""What quickstart publishes and queues: all topics, all queue functions, bulk and scheduled, 1,071 mails."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from emailqueue import queue_bulk_emails, schedule_email
from emailqueue.events import publish
from events import (
    publish_event,
    queue_progress_update,
    queue_rank_update,
    queue_referral_join,
    queue_referral_milestone,
    queue_reward_delivery,
    queue_vote_confirmation,
)

NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Tim", "Margaret", "Linus", "Katherine")
MODELS = ("Aurora", "Borealis", "Cirrus", "Dune", "Equinox", "Fjord", "Glacier")
BUSY, GONE, WELL = "busy.example", "gone.example", "mail.example"
REPLIES = [
    (f"*@{BUSY}", ["450 4.2.1 mailbox busy, try again later", "250 2.1.5 OK"]),
    (f"*@{GONE}", ["550 5.1.1 no such mailbox"]),
]
"""What the mail server answers to whom; it accepts all others at once."""
AHEAD = 5.0
"""Seconds until the scheduled mail is due."""


class Sample:
    """The mails of one run; no two have the same recipient, so that each can be looked for."""

    def __init__(self) -> None:
        self.recipients: list[str] = []
        """All addresses that a mail is meant for, so far."""
        self.published = 0
        """Events, so far."""
        self._models = cycle(enumerate(MODELS, start=1))

    def steps(self) -> Iterator[None]:
        """Do one call after the other, and yield after each."""
        course: list[tuple[Callable[[int], None], int]] = [
            (self._schedule, 1),
            (self._bulk, 1),
            (self._milestone, 2),
            (self._vote, 200),
            (self._rank, 3),
            (self._reward, 40),
            (self._sign_up, 60),
            (self._referral, 20),
            (self._calls, 10),
        ]
        for step, count in course:
            for number in range(count):
                step(number)
                yield

    def _schedule(self, number: int) -> None:
        due = datetime.now(UTC) + timedelta(seconds=AHEAD)
        schedule_email("reward-delivery", self._somebody(), {"reward_name": "Early bird badge"}, due)

    def _bulk(self, number: int) -> None:
        recipients = [(self._somebody(), {"vote_count": votes}) for votes in range(500, 800)]
        queue_bulk_emails("progress-update", recipients, {"model_name": "Aurora", "milestone": "the top ten"})

    def _milestone(self, number: int) -> None:
        figures = {"vote_count": 1000, "milestone": 1000}
        self._publish("model.progress_milestone", subscriber_emails=self._crowd(120), **self._model(), **figures)

    def _vote(self, number: int) -> None:
        publish_event.vote_created({"voter_email": self._somebody(), **self._model()})
        self.published += 1

    def _rank(self, number: int) -> None:
        figures = {"new_rank": number + 1, "old_rank": number + 2, "vote_count": 2300 - 100 * number}
        self._publish("model.rank_changed", supporter_emails=self._crowd(50), **self._model(), **figures)

    def _reward(self, number: int) -> None:
        value = "10 €" if number % 2 else 25
        self._publish("reward.earned", user_email=self._somebody(), reward_name="Gift card", reward_value=value)

    def _sign_up(self, number: int) -> None:
        friend = {"referrer_name": "Grace", "referral_code": f"GRACE{number}"} if number % 2 else {}
        self._publish("user.registered", user_email=self._somebody(), user_name=self._name(), **friend)

    def _referral(self, number: int) -> None:
        reward = {"referral_count": 5 * (number + 1), "reward_name": "Ambassador badge"}
        self._publish("referral.milestone", user_email=self._somebody(), user_name=self._name(), **reward)

    def _calls(self, number: int) -> None:
        model = self._model()
        name = {"model_name": model["model_name"]}
        rank = {"rank_position": 1, "previous_rank": 3, "vote_count": 5200}
        queue_vote_confirmation(self._somebody(), model)
        queue_progress_update(self._somebody(), {**name, "vote_count": 5000, "milestone": 5000})
        queue_rank_update(self._somebody(), {**name, **rank}, attempts=5)
        queue_reward_delivery(self._somebody(), {"reward_name": "Badge"}, priority="critical")
        queue_referral_join(self._somebody(), {"user_name": self._name()}, delay=1)
        queue_referral_milestone(self._somebody(), {"user_name": self._name(), "referral_count": 10})

    def _publish(self, topic: str, **payload: Any) -> None:
        publish(topic, payload)
        self.published += 1

    def _model(self) -> dict[str, Any]:
        number, name = next(self._models)
        return {"model_id": number, "model_name": name}

    def _name(self) -> str:
        return NAMES[len(self.recipients) % len(NAMES)]

    def _crowd(self, count: int) -> list[str]:
        return [self._somebody() for _ in range(count)]

    def _somebody(self) -> str:
        number = len(self.recipients) + 1
        domain = GONE if number % 100 == 0 else BUSY if number % 25 == 0 else WELL
        address = f"{self._name().lower()}.{number:04d}@{domain}"
        self.recipients.append(address)
        return address
