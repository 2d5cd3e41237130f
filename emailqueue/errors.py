"""Every error that the e-mail queue raises to its callers."""


class EmailQueueError(Exception):
    """Base of all errors of this package, except wrong settings (Django's ImproperlyConfigured)."""


class UnknownEmailType(EmailQueueError, LookupError):
    """No e-mail type is registered under that name."""


class InvalidContext(EmailQueueError, ValueError):
    """The context does not fit the e-mail type."""


class MissingContext(InvalidContext):
    """The context lacks a field that the e-mail type needs."""


class InvalidAddress(EmailQueueError, ValueError):
    """A recipient is not one plain e-mail address."""


class InvalidPriority(EmailQueueError, ValueError):
    """The priority is none of the four."""


class InvalidAttempts(EmailQueueError, ValueError):
    """The number of attempts is not a whole number from 1 to 100."""


class InvalidBackoff(EmailQueueError, ValueError):
    """The backoff's type, delay, jitter or bound makes no sense."""


class InvalidTime(EmailQueueError, ValueError):
    """A time or delay is naive, negative or not a time at all."""


class InvalidLanguage(EmailQueueError, ValueError):
    """The language is none of those that the project supports."""


class MissingSample(EmailQueueError, LookupError):
    """The e-mail type has no sample, so it cannot be previewed."""


class NoUnsubscribePage(EmailQueueError, LookupError):
    """The project has no address at which a subscription ends."""


class Suppressed(EmailQueueError):
    """The recipient gets no mails of this type."""


class InvalidIdempotencyKey(EmailQueueError, ValueError):
    """The idempotency key is empty, too long or not a string."""


class TooManyRecipients(EmailQueueError, ValueError):
    """One call names more recipients than a call may."""


class EmptyMessage(EmailQueueError, ValueError):
    """A template rendered no subject or no body."""


class InvalidMessage(EmailQueueError, ValueError):
    """A message of Django's holds something that cannot be queued."""


class AttachmentGone(EmailQueueError, LookupError):
    """The storage has no attachment of that name and size any more."""


class StorageUnavailable(EmailQueueError, OSError):
    """The storage of large attachments failed, so a content was not stored or not read."""


class RedisUnavailable(EmailQueueError, ConnectionError):
    """Redis did not answer, so nothing is known to be queued."""


class InvalidRule(EmailQueueError, ValueError):
    """A rule for verdicts has no name of its own, an unknown phase, or a text that cannot be searched."""


class InvalidAge(EmailQueueError, ValueError):
    """An age is not a number with a unit."""


class UnknownQueue(EmailQueueError, LookupError):
    """No queue of ours has that name."""


class InvalidLimit(EmailQueueError, ValueError):
    """The limit is not a number of mails per time, or its burst is not a whole number of 1 or more."""


class NotRetryable(EmailQueueError, ValueError):
    """The dead letter cannot be retried, or not with these edits."""


class NotDiscardable(EmailQueueError, ValueError):
    """The dead letter cannot be discarded, or not without a reason."""


class UnknownTopic(EmailQueueError, LookupError):
    """No topic has that name."""


class InvalidPayload(EmailQueueError, ValueError):
    """The payload does not fit the topic."""


class InvalidSubscriber(EmailQueueError, ValueError):
    """A worker in another process could not find the handler by its name."""


class MissingSubscriber(EmailQueueError, LookupError):
    """The subscriber that an event was dispatched to is connected no longer."""


class UnknownEvent(EmailQueueError, LookupError):
    """An id leads to no event, or its trail has expired."""
