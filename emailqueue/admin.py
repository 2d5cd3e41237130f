"""Which of our tables the admin shows."""

from django.contrib import admin

from emailqueue.bulk import BulkAction
from emailqueue.models import DeadLetter, OutboxRow, Subscription
from emailqueue.review.bulk_admin import BulkActionAdmin
from emailqueue.review.letter_admin import DeadLetterAdmin
from emailqueue.review.outbox_admin import OutboxRowAdmin
from emailqueue.review.subscription_admin import SubscriptionAdmin

admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(BulkAction, BulkActionAdmin)
admin.site.register(OutboxRow, OutboxRowAdmin)
admin.site.register(Subscription, SubscriptionAdmin)
