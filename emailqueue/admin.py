"""Which of our tables the admin shows."""

from django.contrib import admin

from emailqueue.bulk import BulkAction
from emailqueue.models import DeadLetter
from emailqueue.review.bulk_admin import BulkActionAdmin
from emailqueue.review.letter_admin import DeadLetterAdmin

admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(BulkAction, BulkActionAdmin)
