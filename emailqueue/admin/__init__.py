"""Which of our tables the admin shows."""

from django.contrib import admin

from emailqueue.admin.bulk_actions import BulkActionAdmin
from emailqueue.admin.dead_letters import DeadLetterAdmin
from emailqueue.admin.events import EventTrailAdmin
from emailqueue.admin.outbox import OutboxRowAdmin
from emailqueue.admin.subscriptions import SubscriptionAdmin
from emailqueue.models import BulkAction, DeadLetter, EventTrail, OutboxRow, Subscription

admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(BulkAction, BulkActionAdmin)
admin.site.register(EventTrail, EventTrailAdmin)
admin.site.register(OutboxRow, OutboxRowAdmin)
admin.site.register(Subscription, SubscriptionAdmin)
