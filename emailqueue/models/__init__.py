"""All tables of the queue."""

from emailqueue.enqueue.outbox import OutboxRow
from emailqueue.jobs.ends import Reason
from emailqueue.mail.attachments import KeptFiles
from emailqueue.models.attempt import Attempt
from emailqueue.models.bulk_action import BulkAction
from emailqueue.models.dead_letter import DeadLetter, DeadLetterQuerySet, Status
from emailqueue.models.event_trail import EventTrail
from emailqueue.models.subscription import Subscription

__all__ = [
    "Attempt",
    "BulkAction",
    "DeadLetter",
    "DeadLetterQuerySet",
    "EventTrail",
    "KeptFiles",
    "OutboxRow",
    "Reason",
    "Status",
    "Subscription",
]
